"""Any scikit-learn estimator as a head."""
