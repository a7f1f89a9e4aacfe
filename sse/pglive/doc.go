// Package pglive keeps the results of live queries fresh: of the functions that pgbell.live
// registered. It is the [sse.LiveQueries] of pgbell serve.
//
// # The way of a result
//
// For each function there is a query: which tables it reads, by [triggers.Deps], and so which
// scopes tell of all that can change its result. For each query, arguments and user there is
// one entry, however many streams watch it. It observes its scopes on the bus, past all
// audiences, for the result is what the user may see, and nothing else is shown of a change.
//
// An event makes the entry pending, before the bus's position covers it. A moment later the
// query runs, for up to 100 entries in one statement, as a role of its own that only reads. If
// the result is another, the entry has a new version, and its streams write a frame.
//
// # Why nothing is missed
//
// A run begins when the entry observes the scopes already, and sees all that was emitted
// before. What its snapshot doesn't see is emitted later, and makes the entry pending again.
// A stream's id never covers what makes one of its entries pending. So a client whose id
// includes the snapshot of the first run that had the present result was told of that result.
// About all others nothing is certain, and they are told to fetch again.
//
// # Why nothing leaks
//
// A frame follows from the result alone, and so does what is decided when a client comes back:
// never whether something happened in the scopes, for that may be rows of others.
package pglive
