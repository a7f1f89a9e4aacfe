// Package journal reads what durable feeds recorded.
//
// A durable feed's trigger writes each change into the table pgbell.journal in
// the writer's own transaction. A [Cursor] says which transactions a reader has
// seen; [Read] returns exactly the records of the others: none is missed
// because its transaction committed late, none comes twice, and a long
// transaction holds nothing up. The records of one statement come together, and
// those of one row in the order in which they were committed.
//
// [Tail] keeps the newest records in memory, so that clients which come back
// after a break rarely cost Postgres a query.
package journal
