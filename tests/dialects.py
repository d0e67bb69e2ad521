"""Every test of the store and of the runtime runs on each kind of database, but for those named here, each with its reason."""

from __future__ import annotations

SQLITE_ONLY = {
    "test_checkpoints": "the write-ahead log of a server is the server's business",
    "test_many_waiting": "the plans of SQLite are read; test_postgres_plans reads those of PostgreSQL",
    "test_places": "files, folders and their permissions",
    "test_tree": "no database",
    "test_nodes::test_a_living_node_whose_lock_file_was_removed_is_not_taken_for_dead": "lock files",
    "test_nodes::test_nodes_that_ended_leave_no_lock_files": "lock files",
    "test_processes::test_a_killed_process_is_taken_over_at_once": "on PostgreSQL it is, after the lease",
    "test_processes::test_a_lock_dies_with_the_process_that_holds_it_and_its_half_written_transaction_too": (
        "the lock on writing; test_postgres_trouble has what a transaction holds"
    ),
    "test_trouble::test_a_database_file_that_was_deleted_is_noticed": "files",
    "test_trouble::test_on_a_full_disk_nothing_is_lost_and_it_goes_on_when_there_is_room": "the disk of this process",
}

ON_OLDER_TOO = {"test_signals", "test_tree", "test_lost_node", "test_full_node", "test_waits", "test_several_nodes"}
"""Files beside those of the store whose tests run on the older PostgreSQL too: what they show lies between nodes."""
NOT_ON_OLDER = {"test_processes"}
"""Files of the store that show what processes do to one another, which takes time and does not depend on the server."""
