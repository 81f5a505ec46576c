#!/usr/bin/env bash
# PyTorch 2.14.1, torch.compile(fullgraph=True) with its default `dynamic=None`.
#
# A function that turns a size of its input into text, say for a message, a key of a table or a name, compiles and runs
# for the first size that it is given. At the second size the compiler makes that size symbolic, and then `str(n)`,
# `repr(n)`, `"{}".format(n)` and `"%d" % n` raise Unsupported, while the f-string f"{n}" of the very same number goes on
# compiling. Linters take the four for the same thing and rewrite one into another.
#
# It hurts whoever compiles a model once and calls it at several resolutions or with a last batch that is shorter: tests
# with one shape pass, the first epoch runs, and the run ends where validation or sampling brings the second shape, hours
# later. Without fullgraph it is a silent graph break from there on, and the steps before were timed without it.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q torch==2.14.1 numpy
cat > "$folder/sizes.py" <<'PY'
import torch

ways = {
    'f"{n}"': lambda x: x + len(f"{x.shape[0]}"),
    "str(n)": lambda x: x + len(str(x.shape[0])),
    "repr(n)": lambda x: x + len(repr(x.shape[0])),
    '"{}".format(n)': lambda x: x + len("{}".format(x.shape[0])),
    '"%d" % n': lambda x: x + len("%d" % x.shape[0]),
}
found = {}
for name, way in ways.items():
    torch._dynamo.reset()
    compiled, found[name] = torch.compile(way, fullgraph=True, backend="eager"), []
    for size in (5, 7, 123):
        try:
            assert torch.equal(compiled(torch.zeros(size)), way(torch.zeros(size)))
            found[name].append("right")
        except torch._dynamo.exc.Unsupported:
            found[name].append("Unsupported")
    print(f"{name:<15} sizes 5, 7, 123:", ", ".join(found[name]))
once = ["right", "Unsupported", "Unsupported"]
assert found == {name: ["right"] * 3 if name == 'f"{n}"' else once for name in ways}, found
PY
"$folder/env/bin/python" "$folder/sizes.py"
