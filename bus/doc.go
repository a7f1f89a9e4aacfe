// Package bus delivers change events in memory to those who subscribed to their
// scope.
//
// An emitter hands the [Bus] a [ChangeEvent] for one scope. The bus puts it into the
// queue of each [Subscription] of that scope which the event's [Audience] admits. A
// reader, usually the goroutine of an HTTP stream, takes it from there.
//
// # What is promised
//
// Order. Events of one emitter arrive in each subscription in the order emitted,
// across its scopes. Of two emitters that do not wait for each other nothing is
// said, and two subscriptions may see their events in different order.
//
// Registration. Once [Bus.Subscribe] has returned, every later [Bus.Emit] to one of
// its scopes reaches the subscription, if the audience admits it. There is no moment
// between two scopes: a [Bus.Reset] finds a subscription with all its scopes or with
// none.
//
// Loss. A queue holds a bounded number of events. When it is full the new event is
// dropped: counted, logged and given to [Config].OnDrop. It is not lost silently:
// after what the queue held at that moment, the reader gets one event with [OpReset]
// for each scope that lost any. It means that the scope's state must be fetched
// again. Events that found room later come after the reset.
//
// Audience. An event reaches only whom its audience admits; a reset and an event
// without audience reach all. A subscription without a [Connection], or with one
// without user id, is anonymous and gets only what everyone may see. No audience
// (the zero value: everyone) and an empty one ([Only] without users: nobody) are
// opposites.
//
// Position. [Bus.Advance] tells the bus up to where the history has been emitted. An
// event is stamped with the position at that moment, so all that its Cursor covers
// was emitted before it. A resume from the Cursor of any event read, or from what
// [Subscription.Drained] returned, misses nothing.
//
// # Who blocks
//
// Only a reader in [Subscription.Next]. Emit, Reset, Subscribe and the Close methods
// hold locks for lookups only and wait for no reader: a slow one delays neither the
// emitter nor other readers. The cost of an Emit is that of the subscriptions it goes
// to; with an audience, of those users' subscriptions.
//
// Hooks (OnDrop, OnDisconnect) and the logger run in the goroutine that caused them,
// without a lock, so they may call the bus. They delay only that goroutine. A hook's
// panic is logged and goes no further. Options.Wake runs there too, but is called too
// often to be guarded: it must neither block nor panic.
//
// # Who owns what
//
// An event is shared by all who receive it: nobody may modify its slices once it was
// emitted. So is what they make of it with [Delivery.Memo]. All other slices that go in or out are copied or the caller's own. The
// bus starts no goroutine and needs no shutdown; of a scope without subscribers it
// keeps nothing.
//
// # What a reader must do
//
//   - Close the subscription when it leaves, best by defer. A Next that returns
//     because its context is done does not do so.
//   - Be alone: a subscription is for one reader at a time. Close may come from
//     anywhere.
//   - Take each event soon. What takes long belongs elsewhere, or the queue fills.
//   - On a reset, fetch again what it shows of the scope.
//   - Expect the end: [Bus.Close] of one scope ends the whole subscription. Next
//     first returns what was queued, then [ErrClosed].
package bus
