package bus

const (
	queueFirst = 4  // room made for the first event
	queueKeep  = 16 // an empty queue keeps at most so much room
)

// queue is a ring of events that grows on demand up to a limit, so that an idle
// subscription holds no room for a busy one's events.
type queue struct {
	ring []*Delivery
	head int // index of the oldest
	n    int
}

// push adds d, or reports false if the queue holds limit events.
func (q *queue) push(d *Delivery, limit int) bool {
	if q.n == limit {
		return false
	}
	if q.n == len(q.ring) {
		q.resize(min(max(queueFirst, 2*q.n), limit))
	}
	q.ring[(q.head+q.n)%len(q.ring)] = d
	q.n++
	return true
}

// pop takes the oldest event. The queue must not be empty.
func (q *queue) pop() *Delivery {
	d := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	if q.n == 0 && len(q.ring) > queueKeep {
		q.ring, q.head = nil, 0
	}
	return d
}

func (q *queue) resize(size int) {
	ring := make([]*Delivery, size)
	k := copy(ring, q.ring[q.head:])
	copy(ring[k:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}
