package bus

import "sync/atomic"

// Delivery is an event as all its receivers share it.
type Delivery struct {
	Event ChangeEvent // not to be modified

	memo atomic.Value
}

// Memo returns what f makes of the event, the same to all who ask: they must all give
// an f that makes the same, of one type, and not nil. Usually f is called once; those
// who ask before it has returned call it too, rather than wait. Nobody may modify
// what it returns.
func (d *Delivery) Memo(f func(*ChangeEvent) any) any {
	if made := d.memo.Load(); made != nil {
		return made
	}
	d.memo.CompareAndSwap(nil, f(&d.Event))
	return d.memo.Load()
}
