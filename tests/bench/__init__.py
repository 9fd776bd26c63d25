"""Speed as ratios, measured side by side: `make bench`. Threads wait as they do under the commands."""

from distillkit.system.waiting import wait_briefly

wait_briefly()
