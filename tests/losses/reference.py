"""The papers' formulas as slowly and plainly as they can be written, one sample and one pair at a time.

Trusted because it gives the golden values; then used to make cases of the same schema at other sizes.
"""

import torch


def unit(x):
    return torch.stack([row / row.square().sum().sqrt() for row in x])


def softmax(row):
    weights = [torch.exp(value - row.max().detach()) for value in row]
    return torch.stack(weights) / sum(weights)


def ce(z, y):
    """Row i picks column y[i]."""
    return -sum(softmax(row)[int(j)].log() for row, j in zip(z, y, strict=True)) / len(z)


def kl(t, s):
    return sum((p * (p.log() - q.log())).sum() for p, q in zip(map(softmax, t), map(softmax, s), strict=True)) / len(t)


def soft_ce(t, s):
    return -sum((p * q.log()).sum() for p, q in zip(map(softmax, t), map(softmax, s), strict=True)) / len(t)


def nce(z):
    own = range(len(z))
    return (ce(z, own) + ce(z.T, own)) / 2


def mean_square(x, y):
    return (x - y).pow(2).sum() / x.numel()


def dime_fm(loss, h, x):
    s, t, w, g = unit(x["s_img"]), unit(x["t_img"]), unit(x["t_txt"]), h["logit_scale"]
    if loss == "L_vl":
        a, b = g / h["t_vl"] * t @ w.T, g / h["t_vl"] * s @ w.T
        return kl(a, b) + kl(a.T, b.T)
    if loss == "L_pvl":
        return 2 * kl(g / h["t_pvl"] * t @ t.T, g / h["t_pvl"] * s @ t.T)
    if loss == "L_udist":
        return 2 * kl(g / h["t_udist"] * t @ t.T, g / h["t_udist"] * s @ s.T)
    return sum(h[f"w_{name}"] * dime_fm(f"L_{name}", h, x) for name in ("vl", "pvl", "udist"))


def clip_kd(loss, h, x):
    si, st, a = unit(x["s_img"]), unit(x["s_txt"]), x["s_scale"]
    if loss in ("task_clip", "ClipLoss"):
        return nce(a * si @ st.T)
    ti, tt, b, own = x["t_img"], x["t_txt"], x["t_scale"], range(len(si))
    pi, pt = si, st
    if "vproj_w" in x:
        pi = unit(x["s_img"] @ x["vproj_w"].T + x["vproj_b"])
        pt = unit(x["s_txt"] @ x["tproj_w"].T + x["tproj_b"])
    if loss == "CRD":
        return (kl(b * ti @ tt.T, a * si @ st.T) + kl(b * tt @ ti.T, a * st @ si.T)) / 2
    if loss in ("FD", "MFD"):
        return mean_square(pi, ti) + mean_square(pt, tt)
    if loss == "ICL":
        c = x["cross_logit_scale"]
        return (ce(c * pi @ tt.T, own) + ce(c * pt @ ti.T, own)) / 2
    if loss == "cross_kd":
        c = x["cross_logit_scale"]
        return (kl(b * ti @ tt.T, c * pi @ tt.T) + kl(b * tt @ ti.T, c * pt @ ti.T)) / 2
    if loss == "AFD":
        image = unit(torch.cat([pi, ti], 1) @ x["vfuse_w"].T + x["vfuse_b"])
        text = unit(torch.cat([pt, tt], 1) @ x["tfuse_w"].T + x["tfuse_b"])
        return nce(x["fusion_logit_scale"] * image @ text.T)
    if loss == "GD":
        v, w = (a, b) if h["tau"].startswith("1/") else (1 / a, 1 / b)
        pulls = zip(pull(pi, pt, v) + pull(pt, pi, v), pull(ti, tt, w) + pull(tt, ti, w), strict=True)
        return sum(mean_square(ours, theirs) for ours, theirs in pulls)
    weights = {"w_task": "task_clip", "w_crd": "CRD", "w_icl": "ICL", "w_fd": "FD"}
    return sum(h[key] * clip_kd(name, h, x) for key, name in weights.items())


def pull(p, k, v):
    """What GD compares, as autograd finds it: the gradient of the contrastive loss at p and at k."""
    p, k = (y if y.requires_grad else y.clone().requires_grad_() for y in (p, k))
    return list(torch.autograd.grad(ce(v * p @ k.T, range(len(p))), (p, k), create_graph=True))


def l0_left(h, x, prefix):
    """Parameters that are expected to stay in a tower, and those that it has."""
    d, heads, layers = h["hidden_size"], h["num_attention_heads"], h["num_hidden_layers"]
    hidden, head, inner = (
        torch.sigmoid(x[f"{prefix}{group}_loga"] + 1.5985968).sum() for group in ("hidden", "heads", "intermediate")
    )
    per_head = (4 * d * d + 4 * d) // heads
    total = layers * (2 * d * h["intermediate_size"] + d + h["intermediate_size"]) + layers * heads * per_head
    return hidden * head * per_head / d + 2 * hidden * inner, total


def l0_price(h, sparsity, one, two):
    gap = h["start_sparsity"] - sparsity
    gap = gap + (h["target_sparsity"] - h["start_sparsity"]) * min(1, h["step"] / h["sparsity_warmup"])
    return one * gap + two * gap**2 if gap > 0 else 0 * (one + two + gap)


def tinyclip(loss, h, x):
    if loss == "L0_lagrangian":
        left, total = l0_left(h, x, "")
        return l0_price(h, 1 - left / total, x["lambda_1"], x["lambda_2"])
    if loss == "L0_joint_lagrangian":
        (image, whole_image), (text, whole_text) = l0_left(h["img"], x, "img_"), l0_left(h["txt"], x, "txt_")
        one, two = ((x[f"img_lambda_{number}"] + x[f"txt_lambda_{number}"]) / 2 for number in (1, 2))
        return l0_price(h, 1 - (image + text) / (whole_image + whole_text), one, two)
    si, st, ti, tt = (unit(x[name]) for name in ("s_img", "s_txt", "t_img", "t_txt"))
    a, b = x["s_scale"], x["t_scale"]
    i2t, t2i = soft_ce(b * ti @ tt.T, a * si @ st.T), soft_ce(b * tt @ ti.T, a * st @ si.T)
    if loss == "total":
        alpha = h["distillation_alpha"]
        return h["distillation_weight"] * (alpha * (i2t + t2i) / 2 + (1 - alpha) * nce(a * si @ st.T))
    return {"affinity_i2t": i2t, "affinity_t2i": t2i, "affinity_avg": (i2t + t2i) / 2}[loss]


def proteus(loss, h, x):
    def head(name, y):
        mean = y.mean(-1, keepdim=True)
        spread = ((y - mean).pow(2).mean(-1, keepdim=True) + h.get("ln_eps", 1e-5)).sqrt()
        normed = (y - mean) / spread * x[f"{name}_ln_w"] + x[f"{name}_ln_b"]
        return normed @ x[f"{name}_lin_w"].T + x[f"{name}_lin_b"]

    token = mean_square(head("token", x["s_cls"]), x["t_cls"])
    if loss in ("token", "token_clip_variant"):
        return token
    if loss == "feature":
        n = x["s_patch"].shape[1]
        return (token + n * mean_square(head("fea", x["s_patch"]), x["t_patch"])) / (n + 1)
    if loss == "patch":
        return mean_square(head("patch", x["s_patch_masked"][x["masks"]]), x["t_patch"][x["masks"]])
    weights = {"token": "lambda_token", "feature": "lambda_fea", "patch": "lambda_patch"}
    return sum(h[key] * proteus(name, h, x) for name, key in weights.items())


def ood(loss, h, x):
    si, ti, w, tau, y = unit(x["s_img"]), unit(x["t_img"]), unit(x["class_txt"]), h["temperature"], x["targets"]
    zs, zt = si @ w.T / tau, ti @ w.T / tau
    if loss == "total":
        mse = ood("L_mse", h | {"normalised": h["mse"] == "norm"}, x)
        cst = ood("L_cst", h | {"mode": h["cst"]}, x)
        return ood("L_cls+L_vlalign", h, x) + mse + cst
    if "+" in loss:
        return sum(ood(name, h, x) for name in loss.split("+"))
    if loss == "L_cls":
        return ce(zs, y)
    if loss == "L_mse":
        if h["normalised"]:
            return sum((s - t).pow(2).sum() for s, t in zip(si, ti, strict=True)) / len(si)
        apart = sum((s - t).pow(2).sum() for s, t in zip(x["s_img"], x["t_img"], strict=True)) / len(si)
        return torch.log(1 + apart / 10)
    if loss == "L_cst":
        z = si @ ti.T / tau
        return ce(z, range(len(z))) if h["mode"] == "single" else nce(z)
    if loss == "L_vlalign":
        kept = []
        for ours, theirs, label in zip(zs, zt, y, strict=True):
            best = sorted(range(len(theirs)), key=lambda c: -theirs[c])[: h["k"] if h["k"] > 0 else None]
            if not h["filter"] or best[0] == label:
                kept.append(kl(theirs[best][None], ours[best][None]))
        return sum(kept) / len(kept) if kept else torch.tensor(float("nan"))
    m = si @ unit(x["t_cap"]).T
    twins = [[i != j and bool(y[i] == y[j]) for j in range(len(y))] for i in range(len(y))]
    return ce(m.masked_fill(torch.tensor(twins), -1e7), range(len(y)))


METHODS = {"dime_fm": dime_fm, "clip_kd": clip_kd, "tinyclip": tinyclip, "proteus": proteus, "ood": ood}
