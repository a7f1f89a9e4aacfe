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
// About all others nothing is certain, and they are told to fetch again: so are those of other
// servers, to which something was told that was gone again before it was seen here. A handler
// knows its own by a mark after the ids.
//
// # What is looked up
//
// A row of people may matter only as the owner of a card on the board: its scopes are those of
// the owners that there are. A lookup finds them, in the statement that runs the query, and so
// in the result's snapshot. What else may change the result of that snapshot, and who the owners
// are, is told of by the scopes of cards ([github.com/pgbell/pgbell/triggers/deps] says why).
//
// A new entry observes the scopes without lookups, if these tell of all. After a run it observes
// those for what was found. Of a scope that is new, it may have missed what was emitted since
// the run's snapshot. So it stays pending from the begin of that run, and runs again: that run
// begins when the entry observes the scopes that the first one found, and sees what was missed.
// It finds the same, or what changed meanwhile was heard or is seen now, and the entry runs once
// more if a scope is new again. What each of these runs gave is told: it is the result at its
// snapshot, and no id of a stream goes past the begin of the last one.
//
// # Why nothing leaks
//
// A frame follows from the result alone, and so does what is decided when a client comes back:
// never whether something happened in the scopes, for that may be rows of others.
package pglive
