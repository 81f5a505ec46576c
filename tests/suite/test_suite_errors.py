"""Whatever is wrong with a suite is one sentence: file, line, key and the nearest right word."""

# ruff: noqa: E501 -- the tables of sentences read better unbroken

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdebench.errors import SuiteError
from pdebench.files.yaml_source import read_text
from pdebench.suite.load import load_suite
from pdebench.suite.validation import cell_from_yaml

GOOD = """\
suite: resolution
task: generation
data: {name: noise, resolution: 32}
model: {family: DiT, size: S, patch: 2}
train:
  steps: 2e3
  batch_size: 64
  lr: 1e-4
evaluate: {samples: 500, sampler: heun}
grid:
  model.family: [PDE-SSM-DiT, DiT]
  data.resolution:
    - 64
    - 128
  train.seed: [0, 1]
include:
  - {model.family: PDE-SSM-DiT, model.states: 4}
exclude:
  - {model.family: DiT, data.resolution: 128}
"""

# What is replaced, by what, the line and the sentence after the file's name.
BAD = [
    # keys
    ("  steps:", "  stepz:", 6, "train.stepz: unknown key; did you mean 'steps'?"),
    ("task:", "tusk:", 2, "tusk: unknown key; did you mean 'task'?"),
    ("task: generation", "lr: 1", 2, "lr: unknown key; it belongs under 'train:'"),
    ("task: generation", "train.lr: 1", 2, "train.lr: unknown key; it belongs under 'train:'"),
    ("resolution: 32", "lr: 32", 3, "data.lr: unknown key; it belongs under 'train:'"),
    ("  lr: 1e-4", "  lr: 1e-4\n  steps: 3", 9, "train.steps: is given twice, first on line 6; keep one"),
    ("task: generation", "suite: x", 2, "suite: is given twice, first on line 1; keep one"),
    ("suite: resolution\n", "", 1, "suite: is missing; start with 'suite: NAME'"),
    ("  steps: 2e3\n", "", 5, "train.steps: is missing; set it under 'train:' or in the grid"),
    ("  train.seed:", "  seed:", 15, "grid.seed: there is no such key to set; did you mean 'train.seed'?"),
    ("  train.seed:", "  train.sead:", 15, "grid.train.sead: there is no such key to set; did you mean 'train.seed'?"),
    ("model.states: 4", "model.stats: 4", 17,
     "include[0].model.stats: there is no such key to set; did you mean 'model.states'?"),
    ("patch: 2", "patch: 2, statez: 4", 4, "model.statez: unknown key; did you mean 'states'?"),
    # commas within numbers
    ("2e3", "10,000", 6, "train.steps: must be a whole number of at least 0, not '10,000'; write 10000"),
    ("lr: 1e-4", "lr: 0,001", 8, "train.lr: must be a number above 0, not '0,001'; write 0.001"),
    ("samples: 500,", "samples: 10,000,", 9, "evaluate: 10,000 is two values, since a comma ends one; write 10000"),
    ("samples: 500,", "samples: 5, guidance: 1,5,", 9, "evaluate: 1,5 is two values, since a comma ends one; write 1.5"),
    ("samples: 500,", "guidance: 1,5e-1,", 9,
     "evaluate: 1,5e-1 is two values, since a comma ends one; write 1.5e-1"),
    ("samples: 500,", "nfe: 10, 20,", 9,
     "evaluate: a key must be plain text, not 20; several values stand in brackets: [..., 20]"),
    ("[0, 1]", "[1,000, 2,000]", 15, "grid.train.seed[1]: 1,000 is two values, since a comma ends one; write 1000"),
    ("[0, 1]", "[0,001]", 15, "grid.train.seed[1]: 0,001 is two values, since a comma ends one; write 0.001"),
    # sections where keys are dotted
    ("train.seed: [0, 1]", "train: {lr: [1e-3, 2e-3], seed: [0]}", 15,
     "grid.train: keys are dotted here: write train.lr: [0.001, 0.002], train.seed: [0]"),
    ("model.states: 4", "train: {lr: 2e-3}", 17, "include[0].train: keys are dotted here: write train.lr: 0.002"),
    # types and ranges
    ("2e3", "many", 6, "train.steps: must be a whole number of at least 0, not 'many'"),
    ("2e3", '"100"', 6, "train.steps: must be a whole number of at least 0, not '100'"),
    ("2e3", "true", 6, "train.steps: must be a whole number of at least 0, not true"),
    ("2e3", "1.5", 6, "train.steps: must be a whole number of at least 0, not 1.5"),
    ("2e3", "-1", 6, "train.steps: must be a whole number of at least 0, not -1"),
    ("2e3", "null", 6, "train.steps: must be a whole number of at least 0, not null"),
    ("2e3", "[1]", 6, "train.steps: must be a whole number of at least 0, not [1]"),
    ("lr: 1e-4", "lr: .nan", 8, "train.lr: must be a finite number of at most 64 bits, not .nan"),
    ("lr: 1e-4", "lr: 1e-4\n  ema: 1", 9, "train.ema: must be a number of at least 0 and below 1, not 1"),
    ("lr: 1e-4", "lr: 1e-4\n  clip: no", 9, "train.clip: must be a number above 0 or null, not 'no'"),
    ("lr: 1e-4", "lr: 1e-4\n  betas: [0.9, 2]", 9,
     "train.betas[1]: must be a list of 2 values, each a number of at least 0 and below 1, not [0.9, 2]"),
    ("resolution: 32", "flip: 1", 3, "data.flip: must be true or false, not 1"),
    ("[0, 1]", "[0, '1']", 15, "grid.train.seed[1]: must be a whole number of at least 0, not '1'"),
    ("    - 128", "    - big", 14, "grid.data.resolution[1]: must be a whole number above 0, not 'big'"),
    ("model.states: 4", "model.states: 99", 17,
     "include[0].model.states: must be a whole number of at least 1 and at most 64, not 99"),
    ("data: {name: noise, resolution: 32}", "data: noise", 3, "data: must be keys and values, not 'noise'"),
    ("suite: resolution", "suite: ../up", 1,
     "suite: must be at most 64 lower-case letters, digits, '-' and '_', not '../up'"),
    # names
    ("family: DiT, size", "family: Dit, size", 4, "model.family: unknown family 'Dit'; did you mean 'DiT'?"),
    ("[PDE-SSM-DiT, DiT]", "[DiT, PDE-SSM]", 11,
     "grid.model.family[1]: unknown family 'PDE-SSM'; did you mean 'PDE-SSM-DiT'?"),
    ("size: S", "size: M", 4, "model.size: unknown size 'M'; known: 3XS, 4XS, B, L, S, Ti, XL, XS, XXS"),
    ("name: noise", "name: noize", 3, "data.name: unknown data set 'noize'; did you mean 'noise'?"),
    ("sampler: heun", "sampler: huen", 9, "evaluate.sampler: unknown value 'huen'; did you mean 'heun'?"),
    ("generation", "generate", 2, "task: unknown task 'generate'; did you mean 'generation'?"),
    ("sampler: heun", "metrics: [fid, kidd]", 9, "evaluate.metrics[1]: unknown metric 'kidd'; did you mean 'kid'?"),
    ("sampler: heun", "metrics: [kid, kid]", 9, "evaluate.metrics: 'kid' is listed twice; keep one"),
    # grid, include and exclude
    ("[0, 1]", "[]", 15, "grid.train.seed: is an empty list, which leaves nothing to run; list a value or drop the key"),
    ("[0, 1]", "3", 15, "grid.train.seed: must be a list of values, such as [3], not 3"),
    ("[0, 1]", "[0, 1, 0]", 15, "grid.train.seed[2]: 0 is listed twice; keep one"),
    ("  train.seed: [0, 1]\n", "".join(f"  train.k{i}: [0, 1]\n" for i in range(999)), 10, "grid: has 1,001 keys; the most is 200"),
    ("  - {model.family: DiT, data.resolution: 128}\n", "  - {train.seed: 0}\n" * 4000, 18, "exclude: has 4,000 entries; the most is 1,000"),
    ("[0, 1]", f"[{', '.join(map(str, range(9999)))}]", 10, "grid: has 39,996 combinations; the most is 10,000"),
    ("data.resolution: 128}", "data.resolution: 512}", 19,
     "exclude[0]: matches no combination of the grid, so it excludes nothing"),
    ("data.resolution: 128}", "train.lr: 1}", 19,
     "exclude[0].train.lr: exclude matches keys of the grid only; known: data.resolution, model.family, train.seed"),
    ("model.states: 4", "train.seed: 0", 17, "include[0]: repeats a combination of the grid and adds nothing to it"),
    ("  - {model.family: DiT, data.resolution: 128}", "  - {}", 19,
     "exclude[0]: must be dotted keys and values, such as {train.seed: 0}, not {}"),
    # combinations
    ("suite: resolution", "suit: resolution", 1, "suit: unknown key; did you mean 'suite'?"),
    ("    - 64", "    - 65", 13, "grid.data.resolution[0]: resolution 65 is not divisible by patch 2, in the "
     "combination model.family=PDE-SSM-DiT, data.resolution=65, model.states=4"),
    ("patch: 2", "patch: 2, states: 4", 4, "model.states: DiT takes no option 'states'; PDE-SSM-DiT does, in the "
     "combination model.family=DiT"),
    ("model.family: PDE-SSM-DiT, model", "model.family: DiT, model", 17, "include[0].model.states: DiT takes no option "
     "'states'; PDE-SSM-DiT does, in the combination model.family=DiT, model.states=4"),
    ("samples: 500", "metrics: [kid]", 9, "evaluate.metrics: metrics are asked for but samples is 0; set "
     "evaluate.samples, or leave metrics out"),
    # YAML
    ("{name: noise,", "{name: noise", 3, "is not valid YAML: expected ',' or '}', but got ':'"),
    ("task: generation", "task: !!python/object/apply:os.getcwd []", 2,
     "task: the tag '!!python/object/apply:os.getcwd' is not allowed in a suite"),
    ("task: generation", "1: generation", 2, "a key must be plain text, not 1"),
    ("task: generation", "task: *nobody", 2, "is not valid YAML: found undefined alias 'nobody'"),
    ("task: generation", "task: &a [*a]", 2, "task[0]: an alias stands for something that holds the alias itself"),
    ("task: generation", "task: \x07", 2, "is not valid YAML: character U+0007 is not allowed"),
]  # fmt: skip


@pytest.fixture
def suite_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("bad.yaml")


def message(path: Path | str, *overrides: str) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(path, overrides)
    return str(caught.value)


def test_the_good_suite_is_good(suite_file):
    suite_file.write_text(GOOD)
    assert len(load_suite(suite_file).cells()) == 6


@pytest.mark.parametrize(("old", "new", "line", "expected"), BAD, ids=[f"{i}-{b[1][:20]}" for i, b in enumerate(BAD)])
def test_bad_suites(suite_file, old, new, line, expected):
    assert GOOD.count(old) >= 1
    suite_file.write_text(GOOD.replace(old, new, 1))
    assert message(suite_file) == f"bad.yaml:{line}: {expected}"


def test_the_first_problem_of_the_file_is_the_one_that_is_told(suite_file):
    suite_file.write_text(GOOD.replace("[0, 1]", "[a]").replace("size: S", "size: M").replace("64\n", "x\n"))
    assert message(suite_file).startswith("bad.yaml:4: model.size:")


ONE = """\
suite: one
data: {name: emoji, resolution: 32}
model:
  family: DiT
  size: S
  patch: 4
train: {steps: 10, batch_size: 4, lr: 1e-4}
"""

# A family, what its model is given too and the grid after it; then the line, the key and the sentence.
MISFITS = [
    ("DiT", "  states: 4", "", 7, "model.states: DiT takes no option 'states'; PDE-SSM-DiT does"),
    ("DiT", "  heads: 5", "", 7, "model.heads: 5 heads do not divide width 384"),
    ("DiT", "  width: 400", "", 7, "model.width: 6 heads do not divide width 400"),
    ("DiT", "  heads: 0", "", 7, "model.heads: must be a whole number above 0 or null, not 0"),
    ("DiT", "  width: 6\n  heads: 6", "", 7, "model.width: width 6 is not a multiple of 4, as DiT needs"),
    ("DiT", "", "  model.heads: [6, 5]", 9, "grid.model.heads[1]: 5 heads do not divide width 384"),
    ("DiT", "  width: 384", "  model.heads: [6, 5]", 10, "grid.model.heads[1]: 5 heads do not divide width 384"),
    ("DiT", "  heads: 6", "  model.width: [384, 400]", 10, "grid.model.width[1]: 6 heads do not divide width 400"),
    ("DiT", "  heads: 6", "  model.size: [S, L]", 7, "model.heads: 6 heads do not divide width 1024, in the combination model.size=L"),
    ("PDE-SSM-DiT", "  heads: 6", "", 7, "model.heads: PDE-SSM-DiT has no heads; leave heads out"),
    ("DiT", "  heads: 6", "  model.family: [DiT, PDE-SSM-DiT]", 7, "model.heads: PDE-SSM-DiT has no heads; leave heads out, in the combination model.family=PDE-SSM-DiT"),
    ("PDE-SSM-DiT", "  boundary: neumann", "", 7, "model.boundary: neumann needs convection: false and diffusion: diagonal, isotropic or off, as an edge that mirrors a field turns the sign of a drift and of K's cross terms"),
    ("PDE-SSM-DiT", "  diffusion: off\n  convection: false\n  padding: zero", "  model.boundary: [periodic, dirichlet]", 12, "grid.model.boundary[1]: dirichlet has edges, and padding: zero is of a torus, which has none; leave padding out"),
    ("PDE-SSM-DiT", "  boundary: zero", "", 7, "model.boundary: unknown value 'zero'; known: dirichlet, neumann, periodic"),
    ("PDE-SSM-DiT", "  width: 130", "", 7, "model.width: width 130 is not a multiple of 4, as PDE-SSM-DiT needs"),
    ("DiS", "  mlp_hidden: 64", "", 7, "model.mlp_hidden: DiS has no MLP; leave mlp_hidden out"),
    ("ZigMa", "", "  model.mlp_hidden: [null, 64]", 9, "grid.model.mlp_hidden[1]: ZigMa has no MLP; leave mlp_hidden out"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "model", "grid", "line", "expected"), MISFITS)
def test_what_does_not_fit_the_family_or_its_width(suite_file, family, model, grid, line, expected):
    text = ONE.replace("family: DiT", f"family: {family}").replace("train:", f"{model}\ntrain:" if model else "train:")
    suite_file.write_text(text + (f"grid:\n{grid}\n" if grid else ""))
    assert message(suite_file) == f"bad.yaml:{line}: {expected}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.lr=abc", "train.lr: must be a number above 0, not 'abc'"),
        ("train.lrr=1", "train.lrr: unknown key; did you mean 'lr'?"),
        ("lr=1", "lr: there is no such key to set; did you mean 'train.lr'?"),
        ("lrr=1", "lrr: there is no such key to set; did you mean 'train.lr'?"),
        (
            "train.seed=1",
            "train.seed: the grid on line 15 sweeps this key; override grid.train.seed instead, with a list",
        ),
        ("grid.model.family=DiT", "grid.model.family: must be a list of values, such as ['DiT'], not 'DiT'"),
        ("grid.train.lrr=[1]", "grid.train.lrr: there is no such key to set; did you mean 'train.lr'?"),
        ("train.steps", "must be KEY=VALUE, such as train.lr=1e-4"),
        ("train.betas=[1", "is not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("train={steps: 1}", "train: there is no such key to set; did you mean 'train.lr'?"),
    ],
)
def test_bad_overrides(suite_file, override, expected):
    suite_file.write_text(GOOD)
    assert message(suite_file, override).startswith(f"--set {override}: {expected}")


def test_a_key_of_any_length_is_named_in_a_line(suite_file):
    suite_file.write_text(GOOD.replace("task: generation", f"? {'k' * 50_000}\n: 1"))
    assert message(suite_file).startswith("bad.yaml:2: kkk")
    assert len(message(suite_file)) < 400


def test_an_override_set_twice(suite_file):
    suite_file.write_text(GOOD)
    assert message(suite_file, "train.lr=1", "train.lr=2") == "--set train.lr=2: train.lr: is set twice; keep one"


def test_an_include_that_gives_a_cell_again(suite_file):
    text = GOOD.partition("grid:")[0] + "include:\n  - {train.seed: 0}\n  - {train.warmup: 0}\n"
    suite_file.write_text(text)
    assert message(suite_file) == (
        "bad.yaml:12: include[1]: gives train.warmup=0, the same cell as train.seed=0; drop one of them"
    )


def test_an_include_of_its_own_that_lacks_a_key(suite_file):
    suite_file.write_text(GOOD.replace("model: {family: DiT, size: S, patch: 2}", "model: {size: S, patch: 2}")
                          + "# end\n")  # fmt: skip
    assert len(load_suite(suite_file).cells()) == 6
    text = suite_file.read_text().replace("  - {model.family: PDE-SSM-DiT, model.states: 4}",
                                          "  - {data.resolution: 256}")  # fmt: skip
    suite_file.write_text(text)
    assert message(suite_file) == ("bad.yaml:17: model.family: is missing; set it under 'model:' or in the grid")


def test_files_that_are_no_suites(suite_file, tmp_path):
    assert message("bad.yaml") == "bad.yaml: there is no such file"
    suite_file.write_bytes(b"suite: a\ndescription: \xff\n")
    assert message(suite_file) == "bad.yaml:2: is not UTF-8 text; save the file as UTF-8"
    assert message("./bed.yaml") == "./bed.yaml: there is no such file; did you mean 'bad.yaml'?"
    suite_file.write_text("# nothing\n")
    assert message(suite_file) == "bad.yaml: is empty; a suite starts with 'suite: NAME'"
    suite_file.write_text("\n- a\n")
    assert message(suite_file) == "bad.yaml:1: must hold keys and values, such as 'suite: NAME', not ['a']"
    (tmp_path / "folder.yaml").mkdir()
    assert message("folder.yaml") == "folder.yaml: cannot be read: it is no plain file"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}]\n" for p, c in zip("abcdefghijk", "bcdefghijkl", strict=True)),
        "a: &a {x: 1}\n" + "".join(f"{c}: &{c} {{<<: [*{p}, *{p}, *{p}, *{p}]}}\n" for p, c in zip("abcdefghijk", "bcdefghijkl", strict=True)),
        "a: &a {<<: *a}\n",
        "a: " + "[" * 5000,
        "a: " + "9" * 10000,
        'a: "\\ud800"\n',
    ],
    ids=["aliases", "merges", "cycle", "depth", "digits", "surrogate"],
)  # fmt: skip
def test_hostile_yaml_is_refused_at_once(text):
    with pytest.raises(SuiteError):
        read_text(text, "x")


def test_a_cells_own_file_is_checked_too():
    with pytest.raises(SuiteError, match=r"^config\.yaml:3: data\.nam: unknown key; did you mean 'name'\?$"):
        cell_from_yaml("suite: a\ndata:\n  nam: emoji\n  resolution: 8\nmodel: {family: DiT, size: S, patch: 2}\n"
                       "train: {steps: 1, batch_size: 1, lr: 1}\n")  # fmt: skip


@settings(max_examples=150)
@given(data=st.data())
def test_mutated_text_never_raises_anything_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "suite.yaml"
    content = bytearray(GOOD.encode())
    kind = data.draw(st.sampled_from(["flip", "drop line", "copy line", "insert", "token"]))
    for _ in range(data.draw(st.integers(1, 3))):
        if kind == "flip":
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            at = data.draw(st.integers(0, len(content)))
            content[at:at] = data.draw(st.text(max_size=5)).encode()
        elif kind == "token":
            words = [
                b"64",
                b"DiT",
                b"[0, 1]",
                b"{model.family: DiT, data.resolution: 128}",
                b"1e-4",
                b"model.family",
            ]
            new = [
                b"null",
                b"[]",
                b"{}",
                b"[[1]]",
                b"{a: {b: 1}}",
                b"true",
                b"-1",
                b"*x",
                b"&x",
                b"''",
                b"!!set {}",
            ]
            content = bytearray(content.replace(data.draw(st.sampled_from(words)), data.draw(st.sampled_from(new))))
        else:
            lines = content.splitlines(keepends=True)
            index = data.draw(st.integers(0, len(lines) - 1))
            lines[index : index + 1] = [] if kind == "drop line" else [lines[index]] * 2
            content = bytearray(b"".join(lines)) or bytearray(b" ")
    path.write_bytes(content)
    try:
        load_suite(path)
    except SuiteError as error:
        assert str(error).startswith(f"{path}:")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


def test_guidance_without_label_dropout_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace("samples: 500", "samples: 500, guidance: 4").replace("lr: 1e-4", "lr: 1e-4\n  label_dropout: 0")
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    with pytest.raises(SuiteError, match=r":10: evaluate\.guidance: 4 guides away .*train\.label_dropout 0"):
        load_suite(path)
    path.write_text(text.replace("guidance: 4", "guidance: 1"))
    load_suite(path)
    path.write_text(text.replace("lr: 1e-4\n  label_dropout: 0", "lr: 1e-4"))
    load_suite(path)


def test_channels_to_guide_without_guidance_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(GOOD.replace("samples: 500", "samples: 500, guidance_channels: 3"))
    with pytest.raises(SuiteError, match=r":9: evaluate\.guidance_channels.*guidance is 1"):
        load_suite(path)
    path.write_text(GOOD.replace("samples: 500", "samples: 500, guidance_channels: 3, guidance: 2"))
    load_suite(path)


def test_lists_without_spaces_are_lists() -> None:
    assert read_text("grid: {train.seed: [0,1,10,100,1000], train.steps: [500,250]}", "f").data["grid"] == {
        "train.seed": [0, 1, 10, 100, 1000],
        "train.steps": [500, 250],
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [" + "1," * 60_000 + "1]\n", "holds more than 20000 values"),
        ("a: " + "[" * 2000 + "]" * 2000 + "\n", "nested too deeply"),
        ("a: " + "{b: " * 2000 + "1" + "}" * 2000 + "\n", "nested too deeply"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(300)), "nested too deeply"),
        (f"a: '{'x' * 2**20}'\n", "is larger than 1 MiB"),
    ],
    ids=["values", "lists", "mappings", "blocks", "bytes"],
)
def test_a_suite_of_any_size_or_depth_is_refused_while_it_is_read(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SuiteError, match=why):
        load_suite(path)
