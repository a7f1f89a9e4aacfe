// Package wire is what a stream writes to, and the only place where it waits: an
// ordinary response or, over HTTP/1.x, a connection that was taken over from net/http.
//
// # Who blocks
//
// A [Wire] is for one goroutine, the stream's: it opens the wire, then writes and waits
// by turns, and finishes. Open and Write block for a client that does not read, until
// their deadline; Finish may, until its own and a second longer. Wake never blocks, and
// may be called from anywhere, at any time.
//
// A stream that was lent is served by one of the [Writers] while its goroutine waits.
// They share few goroutines among all streams, and never block: what there is no room
// for is handed back to the stream's goroutine.
//
// # Who owns what
//
// No call keeps the bytes that it is given. Finish closes a connection that was taken
// over; a response is ended by its server, once the handler has returned. Wait does not
// return amid a [Turn], so that the stream's goroutine and a writer need no lock for
// what both of them use.
//
// # Zero values
//
// The zero time is never. With nil for Writers nothing is taken over. Their goroutines
// run only while there is something to do: nobody has to stop them.
package wire
