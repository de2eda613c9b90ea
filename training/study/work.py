"""What a job does. It loads next to nothing itself: the commands that it starts do."""

import os

from submitit.helpers import DelayedSubmission

from training.study.runs import StudyRun


class Work:
    """What a job does: one run. When a cluster ends the job for its time limit, submitit sends it again."""

    def __init__(self, run: StudyRun, threads: int, gpu: str | None = None) -> None:
        self.run, self.threads, self.gpu, self.folder = run, threads, gpu, os.getcwd()

    def __call__(self) -> None:
        os.chdir(self.folder)
        if self.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu
        self.run.work(self.threads)

    def checkpoint(self) -> DelayedSubmission:
        return DelayedSubmission(self)
