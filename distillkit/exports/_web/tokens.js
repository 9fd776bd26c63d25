// Texts to rows of tokens by tokenizer.json: pairs of bytes (CLIP) and word pieces (BERT).
// https://github.com/huggingface/tokenizers

export function tokenizer(config) {
  const kinds = { BPE: pairs, WordPiece: pieces };
  const split = kinds[config.model.type](config);
  const [start, end] = ends(config.post_processor);
  const length = config.padding.strategy.Fixed;
  const pad = config.padding.pad_id;
  return (text) => {
    const row = [start, ...split(text).slice(0, length - 2), end];
    return [...row, ...Array(length - row.length).fill(pad)];
  };
}

// The tokens that stand before and behind every text.
function ends(config) {
  if (config.type !== "TemplateProcessing") return [config.cls[1], config.sep[1]];
  const names = config.single.filter((one) => one.SpecialToken).map((one) => one.SpecialToken.id);
  return names.map((name) => config.special_tokens[name].ids[0]);
}

const WORDS = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+/gu;

// Letter by letter: JavaScript alone would see that a sigma is the last one of its word.
const lower = (text) => text.replace(/./gsu, (letter) => letter.toLowerCase());

const numbers = (model) => new Map(Object.entries(model.vocab));

// What a text goes through before it is split.
function normalised(config) {
  if (config.type === "Sequence") {
    const steps = config.normalizers.map(normalised);
    return (text) => steps.reduce((made, step) => step(made), text);
  }
  if (config.type === "NFC") return (text) => text.normalize("NFC");
  if (config.type === "Lowercase") return lower;
  if (config.type === "BertNormalizer") return (text) => berts(config, text);
  if (config.type !== "Replace") throw new Error(`tokenizer.json: no way to normalise by ${config.type} is known here`);
  const found = "Regex" in config.pattern ? new RegExp(config.pattern.Regex, "gu") : config.pattern.String;
  return (text) => text.replaceAll(found, () => config.content);
}

function pairs({ model, normalizer, added_tokens }) {
  const normal = normalised(normalizer);
  const vocabulary = numbers(model);
  const rank = new Map(model.merges.map((pair, place) => [Array.isArray(pair) ? pair.join(" ") : pair, place]));
  const letters = letterOfByte();
  const known = new Map(added_tokens.map((token) => [token.content, [token.id]]));
  const ends = added_tokens.map((token) => token.content.replace(/[$()*+.?[\\\]^{|}]/g, "\\$&"));
  const words = new RegExp([...ends, WORDS.source].join("|"), WORDS.flags);

  function word(text) {
    if (known.has(text)) return known.get(text);
    let parts = Array.from(new TextEncoder().encode(text), (value) => letters[value]);
    parts[parts.length - 1] += model.end_of_word_suffix;
    while (parts.length > 1) {
      const ranks = parts.slice(1).map((part, place) => rank.get(`${parts[place]} ${part}`) ?? Infinity);
      const best = Math.min(...ranks);
      if (best === Infinity) break;
      const merged = [];
      for (let place = 0; place < parts.length; place++) {
        const joins = place + 1 < parts.length && rank.get(`${parts[place]} ${parts[place + 1]}`) === best;
        merged.push(joins ? parts[place] + parts[++place] : parts[place]);
      }
      parts = merged;
    }
    const found = parts.map((part) => vocabulary.get(part) ?? vocabulary.get(model.unk_token));
    known.set(text, found);
    return found;
  }

  return (text) => (normal(text).match(words) ?? []).flatMap(word);
}

// Every byte as a letter that can be seen, as GPT-2 had it.
function letterOfByte() {
  const seen = (value) => (value > 32 && value < 127) || (value > 160 && value < 173) || value > 173;
  let next = 256;
  return Array.from({ length: 256 }, (_, value) => String.fromCodePoint(seen(value) ? value : next++));
}

const CHINESE = /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu;
const MARK = /[!-/:-@[-`{-~]|\p{P}/u;

function berts(config, text) {
  let made = text;
  if (config.clean_text) made = made.replace(/(?![\t\n\r])[\0\uFFFD\p{C}]/gu, "").replace(/\p{White_Space}/gu, " ");
  if (config.handle_chinese_chars) made = made.replace(CHINESE, " $& ");
  if (config.strip_accents ?? config.lowercase) made = made.normalize("NFD").replace(/\p{Mn}/gu, "");
  return config.lowercase ? lower(made) : made;
}

function pieces({ model, normalizer }) {
  const normal = normalised(normalizer);
  const vocabulary = numbers(model);

  function word(text) {
    const letters = Array.from(text);
    const unknown = [vocabulary.get(model.unk_token)];
    if (letters.length > model.max_input_chars_per_word) return unknown;
    const found = [];
    for (let first = 0; first < letters.length; ) {
      let end = letters.length, id;
      for (; end > first && id === undefined; end--) {
        const prefix = first ? model.continuing_subword_prefix : "";
        id = vocabulary.get(prefix + letters.slice(first, end).join(""));
      }
      if (id === undefined) return unknown;
      found.push(id);
      first = end + 1;
    }
    return found;
  }

  function words(text) {
    const found = [];
    let open = false;
    for (const letter of normal(text)) {
      const space = /\p{White_Space}/u.test(letter), mark = MARK.test(letter);
      if (!space && (mark || !open)) found.push(letter);
      else if (!space) found[found.length - 1] += letter;
      open = !space && !mark;
    }
    return found;
  }

  return (text) => words(text).flatMap(word);
}
