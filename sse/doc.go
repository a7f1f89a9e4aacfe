// Package sse serves the bus's events over HTTP, as server-sent events.
//
//	GET /events?scope=A&scope=B   the stream
//	GET /events?live=f%3Fa%3D1    the same, of a live query
//	GET /live/f?a=1               the result of a live query
//	GET /presence?scope=A         who listens to a scope
//	GET /healthz, /readyz         is the process alive, does it hear the database
//
// # What a stream promises
//
// Nothing is written before the request was authenticated and each of its scopes
// authorized. The bus keeps from a stream what its user is not in the audience of,
// and what a resume replays goes by the same rule.
//
// After "ready" every event of the stream's scopes is written, in the bus's order,
// or a later reset for its scope is. A frame's id is a cursor that covers nothing
// which was not written to this stream, so that a client which comes back with its
// last id misses nothing. A stream that has nothing to say still moves its
// client's last id, by an id line alone, at each heartbeat and soon after a burst.
//
// A stream that asks for coalesce or spread has its events wait for others of their
// scope: then one event is written for all of them, with their number, "coalesced".
// It waits no longer than both times together; an id that covers what waits is not
// written before it.
//
// Of a live query a frame is written when its result is another, which Config.Live says. An
// id that covers what the result may be another for is not written before that frame is, or
// before it is known that none is due.
//
// A stream ends when the client is gone or does not read within the write timeout,
// and on Drain: the client is to come back, and the response is cut, without its last
// chunk or, over HTTP/2, by RST_STREAM. It also ends when the identity expires,
// when one of its scopes is no longer allowed, when the bus closes the subscription,
// and when its user opens too many others; then its last frame is named close and
// says why, the response is complete, and what was queued is not written any more. Over
// HTTP/1.0 nobody can tell a cut response. A permission holds for the
// recheck time at most: nothing is written while it can't be renewed.
//
// # Who blocks
//
// A stream is one goroutine: that of its request or, with [Config].Hijack, a new one on
// the connection that was taken over. The bus never waits for it: a slow stream loses
// events from its own queue, and gets a reset for them. Only Authorize and Replay run
// beside it; a stream that is over waits until they return.
//
// Hijacked streams over TCP are written to by a few goroutines that all of them share,
// one for each processor, as long as their sockets have room. Only a stream's own
// goroutine waits for its client.
//
// # What a stream costs
//
// An event is encoded once for all streams. A hijacked stream over TCP holds about
// 5 kB, with a stack of 2 kB, and makes no garbage for an event. A stream that is not
// hijacked holds net/http's buffers as well, about 30 kB in all.
//
// # The life of a stream
//
//  1. Request: Handler.events refuses other methods, bodies, and what rate.allow finds
//     too fast. While the handler drains, it sends the client away.
//  2. Identify: Handler.admit has Handler.Identify ask the AuthenticateFunc who the
//     client is; then readRequest reads the scopes and the cursor.
//  3. Authorize: Handler.refuses asks the AuthorizeFunc about each scope.
//  4. Limits: Handler.stream makes the stream, and gate.enter counts or refuses it.
//     stream.watchLives has its live queries watched.
//  5. Subscribe: Handler.stream subscribes to the bus, and stream.open sends the headers.
//     stream.start does all that follows, on goroutines of its own if the stream is
//     hijacked. stream.awaitReady waits until the database is heard and live queries were
//     run, stream.permitted asks the AuthorizeFunc again, stream.begin writes the ready frame.
//  6. Resume: stream.resume writes what the ReplayFunc returns since the client's cursor,
//     since the ready frame's for a new client, or resets. stream.join sets up the seam,
//     which skips what is queued and was replayed.
//  7. Live: stream.live writes what is queued, and waits in stream.pause. While it waits,
//     a writer of the wire may call stream.Serve in its place, unless there are live queries:
//     stream.roundLives writes their frames.
//  8. End: the first error of steps 5 to 7, which stream.over finds, or a write.
//     stream.finish unsubscribes. Where there is no use in coming back, it writes the
//     close frame and finishes the response, else it aborts it. gate.leave forgets the
//     stream.
//
// What a stream writes to is its wire, of sse/internal/wire.
package sse
