"""Which hours are good enough: by the grade of their certificate, and by the quality of their values."""
