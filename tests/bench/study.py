"""The study of the scalers: every policy on every workload with every cold start, into a table of runs and a page.

`make study` runs what is missing and writes `docs/concepts/autoscaler-study.csv`, and the page and its picture beside
it; a run that is in the table is not repeated, so a study may be interrupted and gone on with. `--fresh` begins anew,
`--page` only writes page and picture. Ten seeds take seven minutes of a core.
"""

import argparse

from tests.bench.study_page import page
from tests.bench.study_picture import picture
from tests.bench.study_runs import COLD_STARTS_SECONDS, FOLDER, points, run

PAGE, PICTURE = FOLDER / "autoscaler-study.md", FOLDER / "autoscaler-study.svg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each case")
    parser.add_argument("--cold-starts", type=float, nargs="+", help="seconds; all of them when not given")
    parser.add_argument("--fresh", action="store_true", help="forget the runs of before")
    parser.add_argument("--page", action="store_true", help="only write page and picture")
    arguments = parser.parse_args()
    if not arguments.page:
        run(arguments.seeds, arguments.cold_starts or COLD_STARTS_SECONDS, arguments.fresh)
    found = points()
    PAGE.write_text(page(found), encoding="utf-8")
    PICTURE.write_text(picture(found), encoding="utf-8")


if __name__ == "__main__":
    main()
