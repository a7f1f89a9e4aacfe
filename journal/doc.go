// Package journal reads what durable feeds recorded.
//
// A durable feed's trigger writes facts into the table pgbell.journal, in the writer's
// own transaction: the values of the columns that the feed names, as they were and as
// they became. A [Cursor] says which transactions a reader has seen; [Read] returns
// exactly the records of the others: none is missed because its transaction committed
// late, none comes twice, and a long transaction holds nothing up.
//
// Meaning: scopes, audience, key and moves are made of the facts here, by the definition
// that the feed had when they were recorded; see [Definitions].
//
// Order: the changes of one statement come together, those of one row in the order in
// which they were committed. Within a transaction that takes all of its records at once:
// see [Reader.InOrder]. What is in no certain order gets a reset.
//
// Loss: a record that can't be read becomes a reset of its own table's scopes.
//
// [Tail] keeps the newest records in memory, so that clients which come back
// after a break rarely cost Postgres a query.
package journal
