"""The benchmark of the log's verification counts what it verified."""

from benchmarks import verification


def test_a_small_log_is_verified_in_both_forms(capsys, monkeypatch):
    monkeypatch.setattr(verification, "IN_A_FILE", 12_000)
    assert verification.main(["--rows", "12000"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == [
        "as one-client batches",
        "as Parquet files",
    ]
