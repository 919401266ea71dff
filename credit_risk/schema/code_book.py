"""What the values in the data really mean.

Many labels of the German Credit data are wrong, and four of its whole numbers are classes, not
quantities: see data/README.md, which a test compares with this table. The labels stay, since
everybody's files have them; what a person reads is looked up here.
"""

# According to Grömping (2019). Each attribute's values as text, in the schema's order.
MEANINGS: dict[str, dict[str, str]] = {
    "checking_status": {
        "<0": "no checking account",
        "0<=X<200": "below 0 DM",
        ">=200": "0 to below 200 DM",
        "no checking": "200 DM or more, or salary paid in for at least a year",
    },
    "credit_history": {
        "no credits/all paid": "delays in paying off in the past",
        "all paid": "critical account, or credits elsewhere",
        "existing paid": "no credits taken, or all paid back duly",
        "delayed previously": "existing credits paid back duly till now",
        "critical/other existing credit": "all credits at this bank paid back duly",
    },
    "purpose": {
        "new car": "other",
        "used car": "new car",
        "furniture/equipment": "used car",
        "radio/tv": "furniture, equipment",
        "domestic appliance": "radio, television",
        "repairs": "domestic appliances",
        "education": "repairs",
        "vacation": "education",
        "retraining": "vacation",
        "business": "retraining",
        "other": "business",
    },
    "savings_status": {
        "<100": "unknown, or no savings account",
        "100<=X<500": "below 100 DM",
        "500<=X<1000": "100 to below 500 DM",
        ">=1000": "500 to below 1000 DM",
        "no known savings": "1000 DM or more",
    },
    "employment": {
        "unemployed": "unemployed",
        "<1": "less than 1 year",
        "1<=X<4": "1 to below 4 years",
        "4<=X<7": "4 to below 7 years",
        ">=7": "7 years or more",
    },
    "installment_commitment": {
        "1": "35 % of disposable income or more",
        "2": "25 to below 35 %",
        "3": "20 to below 25 %",
        "4": "below 20 %",
    },
    "personal_status": {
        "male div/sep": "male: divorced, separated",
        "female div/dep/mar": "female: not single, or male: single",
        "male single": "male: married, widowed",
        "male mar/wid": "female: single",
        "female single": "(no client)",
    },
    "other_parties": {
        "none": "none",
        "co applicant": "co-applicant",
        "guarantor": "guarantor",
    },
    "residence_since": {
        "1": "less than 1 year",
        "2": "1 to below 4 years",
        "3": "4 to below 7 years",
        "4": "7 years or more",
    },
    "property_magnitude": {
        "real estate": "unknown, or none",
        "life insurance": "car or other",
        "car": "building society savings agreement, life insurance",
        "no known property": "real estate",
    },
    "other_payment_plans": {
        "bank": "at a bank",
        "stores": "at stores",
        "none": "none",
    },
    "housing": {
        "rent": "free of charge",
        "own": "rented",
        "for free": "owned",
    },
    "existing_credits": {
        "1": "1",
        "2": "2 to 3",
        "3": "4 to 5",
        "4": "6 or more",
    },
    "job": {
        "unemp/unskilled non res": "unemployed, or unskilled and not resident",
        "unskilled resident": "unskilled, resident",
        "skilled": "skilled employee, official",
        "high qualif/self emp/mgmt": "manager, self-employed, highly qualified",
    },
    "num_dependents": {
        "1": "0 to 2",
        "2": "3 or more",
    },
    "own_telephone": {
        "none": "no",
        "yes": "yes, in the client's name",
    },
    "foreign_worker": {
        "yes": "no",
        "no": "yes",
    },
}


def meaning(attribute: str, value: str) -> str:
    """Return what a recorded value means; empty for a quantity, which means itself."""
    return MEANINGS.get(attribute, {}).get(value, "")
