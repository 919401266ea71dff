"""How good a candidate is: its metrics, its calibration, and how fair it is to protected groups."""
