"""Write data/train.csv and data/test.csv: every model here is trained and tested on this split.

    python -m data.split

Both are committed, so that a person with only Docker has clients to upload; a test checks them
against this script.
"""

import argparse
from pathlib import Path

from credit_risk.schema.dataset_file import load_dataset
from credit_risk.training_data.data import SPLIT_SEED, read_training, split

HERE = Path(__file__).parent


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data.split",
        description="Split the data into train.csv (80 %%) and test.csv, by class.",
    )
    parser.add_argument(
        "--source", default=str(HERE / "credit-g.csv"), help="path or gs:// (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="the folder to write into (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=SPLIT_SEED, help="of the draw (default: %(default)s)"
    )
    args = parser.parse_args(argv)

    args.out.mkdir(parents=True, exist_ok=True)
    dataset = load_dataset()
    parts = split(read_training(args.source, dataset), dataset, seed=args.seed)
    for name, part in zip(("train.csv", "test.csv"), parts, strict=True):
        part.to_csv(args.out / name, index=False, lineterminator="\n")
        print(f"{args.out / name}: {len(part)} rows, {(part['class'] == 'bad').sum()} of them bad")


if __name__ == "__main__":
    main()
