"""An application, and applications as a CSV."""

import csv
import io

CLIENT = {
    "checking_status": "<0",
    "duration": 6,
    "credit_history": "critical/other existing credit",
    "purpose": "radio/tv",
    "credit_amount": 1169,
    "savings_status": "no known savings",
    "employment": ">=7",
    "installment_commitment": 4,
    "personal_status": "male single",
    "other_parties": "none",
    "residence_since": 4,
    "property_magnitude": "real estate",
    "age": 67,
    "other_payment_plans": "none",
    "housing": "own",
    "existing_credits": 2,
    "job": "skilled",
    "num_dependents": 1,
    "own_telephone": "yes",
    "foreign_worker": "yes",
}


def as_csv(*rows: dict, separator: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(k for r in rows for k in r)), delimiter=separator
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
