"""Prepare the decision log's database, as its administrator: no service has the rights for this.

The indexes are made, and the collection of approvals is opened, from which on only what the
approver's credential has written counts. Done again, it changes nothing.
"""

import os
from typing import Any

import pymongo

from credit_risk.decision_log.log import open_log
from credit_risk.registry.approval_log import open_collection
from credit_risk.settings import Settings
from credit_risk.storage.documents import INDEXES
from credit_risk.storage.mongodb import create_indexes

client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(os.environ["DECISION_LOG"])
with client:
    database = client.get_default_database()
    for name in INDEXES:
        create_indexes(database[name])

open_collection(open_log(Settings()))
print(f"{len(INDEXES)} collections have their indexes, and the approvals are open")  # noqa: T201
