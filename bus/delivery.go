package bus

import "sync"

// Delivery is an event as all its receivers share it.
type Delivery struct {
	Event ChangeEvent // not to be modified

	once sync.Once
	memo any
}

// Memo returns what f makes of the event. It is called by the first receiver that
// asks, the others wait for it and share the result: all must give an f that makes
// the same. Nobody may modify what it returns.
func (d *Delivery) Memo(f func(*ChangeEvent) any) any {
	d.once.Do(func() { d.memo = f(&d.Event) })
	return d.memo
}
