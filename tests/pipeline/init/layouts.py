"""Layouts of public corpora in miniature. Each function fills a folder with audio and returns what `init` is given."""

from tests.pipeline.small_corpora import tone

EMOTIONS = ("03", "04", "05")


def clips(root, *names, seconds=0.25):
    for number, name in enumerate(names):
        tone(root / name, 200 + 37 * (number % 11), seconds, 16_000, number)
    return root


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def urbansound8k_without_table(root):
    names = [
        f"fold{fold}/{100 * fold + n}-{label}-0-{n}.wav" for fold in range(1, 6) for label in (3, 8) for n in (0, 1)
    ]
    return clips(root, *names)


def meta_beside_audio(root):
    names = [f"{speaker}{n}" for speaker in "abcdefg" for n in range(4)]
    clips(root / "audio", *(f"{name}.wav" for name in names))
    rows = (f"{name}.wav,{'dog' if n % 2 else 'cat'},{name[0]}" for n, name in enumerate(names))
    write(root / "meta.csv", "filename,category,speaker", *rows)
    return root


def fsd50k(root):
    """Names without folder or extension, labels separated by commas, two tables beside two folders of audio."""
    for table, first in (("dev", 0), ("eval", 100)):
        numbers = range(first, first + 12)
        clips(root / f"FSD.{table}_audio", *(f"{n}.wav" for n in numbers))
        rows = [f'{n},"{("Bark,Dog", "Meow,Cat", "Dog,Cat")[n % 3]}"' for n in numbers]
        if table == "dev":
            rows = [f"{row},{'val' if n % 4 == 3 else 'train'}" for n, row in enumerate(rows)]
        write(root / "FSD.ground_truth" / f"{table}.csv", "fname,labels" + (",split" if table == "dev" else ""), *rows)
    write(root / "FSD.ground_truth" / "vocabulary.csv", "0,Bark,/m/1", "1,Dog,/m/2")
    return root


def ravdess_in_other_folders(root):
    names = [f"03-01-{e}-01-0{s}-01-{actor:02d}" for e in EMOTIONS for s in (1, 2) for actor in (1, 2, 3, 4)]
    return clips(root, *(f"set{n % 2}/{name}.flac" for n, name in enumerate(names)))


def emodb(root):
    names = [f"{speaker}{text}{emotion}{version}" for speaker in ("03", "08", "11") for text in ("a01", "b02")
             for emotion in "WFN" for version in "ab"]  # fmt: skip
    return clips(root / "wav", *(f"{name}.wav" for name in names))


def many_small_classes(root):
    names = [f"species{c:03d}/{n}.wav" for c in range(40) for n in range(1 if c % 10 == 0 else 3)]
    return clips(root, *names, seconds=0.1)


def class_folders_by_speaker(root):
    return clips(root, *(f"{label}/{s}_{n}.wav" for label in ("yes", "no") for s in "abcde" for n in range(4)))


def odd_labels(root):
    """Labels that a careless reader takes for numbers, missing values or truth values; as Excel writes them."""
    names = [f"{n}.wav" for n in range(24)]
    clips(root / "wav", *names)
    rows = (f'"{name}";"{("001", "NA", "None", "True")[n % 4]}"' for n, name in enumerate(names))
    text = "\r\n".join(['\ufeff"file name";"label"', *rows]) + "\r\n"
    (root / "meta.csv").write_text(text.replace("file name", "file_name"), encoding="utf-8", newline="")
    return root
