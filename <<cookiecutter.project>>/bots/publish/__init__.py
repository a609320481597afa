"""The trusted side of a review: check what the review job wrote, publish it, lock the judged model.

Only default-branch code runs here.
"""
