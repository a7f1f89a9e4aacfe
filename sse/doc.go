// Package sse serves the bus's events over HTTP, as server-sent events.
//
//	GET /events?scope=A&scope=B   the stream
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
// A stream ends when the client is gone or does not read within the write timeout,
// and on Drain: the client is to come back. It also ends when the identity expires,
// when one of its scopes is no longer allowed, when the bus closes the subscription,
// and when its user opens too many others; then its last frame is named close and
// says why, and what was queued is not written any more. A permission holds for the
// recheck time at most: nothing is written while it can't be renewed.
//
// # Who blocks
//
// A stream is one goroutine: that of its request or, with [Config].Hijack, one of its
// own on the connection that it took over. The bus never waits for it: one that is
// slow loses events from its own queue, and gets a reset for them. Only Authorize and
// Replay run beside it; a stream that is over waits until they return.
//
// Hijacked streams over TCP are written to by goroutines that many of them share, one
// for each processor, as long as their sockets have room. Only a stream's own
// goroutine waits for its client.
//
// # What a stream costs
//
// An event is encoded once for all streams. A hijacked stream over TCP holds about
// 5 kB, with a stack of 2 kB, and makes no garbage for an event. One that is not holds
// net/http's buffers as well, about 30 kB in all.
package sse
