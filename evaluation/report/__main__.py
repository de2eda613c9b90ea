"""`python -m evaluation.report reports/NAME` draws a report again."""

from evaluation.process.extras import needs

if __name__ == "__main__":
    needs("report")

from evaluation.report.page import main

if __name__ == "__main__":
    main()
