"""nbgrader's settings for this course folder: `cd assignments`, and its commands work as they are."""

c = get_config()  # noqa: F821  # nbgrader defines it

c.CourseDirectory.course_id = "wavescore"
c.Execute.timeout = 120  # seconds for a cell
c.OverwriteCells.add_missing_cells = True  # tests that a student deleted are run all the same
