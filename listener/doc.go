// Package listener turns what Postgres tells into events on a [bus.Bus].
//
// A [Listener] is one loop over one connection of its own: connect, LISTEN, then
// over and over read the journal since the cursor, emit, wait for a notification
// or a short tick. Catching up after a break and going on live are the same path.
//
// Waking: writers ring only while a listener has asked for it, for notifications make
// those who commit wait for each other. One that is busy asks nobody and reads every
// few milliseconds instead. Nothing but latency depends on that.
//
// Order: the changes of one statement are emitted together, those of one row in
// the order in which they were committed. Where that isn't certain, as in a transaction
// that is too large to hold, a reset of the table's scopes follows. Once all that a
// cursor covers is emitted, the bus advances to it.
//
// Loss: none of a durable feed, and no change twice, unless the connection breaks
// in the middle of a batch too large to hold. Where it can't be told what happened
// (another incarnation of the server, a journal that was truncated meanwhile),
// every scope gets a reset. What feeds that aren't durable did while the connection
// was down is not known: their scopes get one.
//
// Deafness: each new connection must receive a notification that another one sends,
// else a pooler is in between and the listener is not ready. Each reading of the
// journal, at least one a tick, shows that the server still answers.
//
// Trust: anybody who may connect can send notifications. One makes the listener
// read the journal and no more, unless it names a table whose feed is not
// durable: then it is all there is, and believed, within the scopes of that feed.
package listener
