package pgauth

import (
	"sync"
	"time"
)

// maxAnswers is how many answers are kept at most.
const maxAnswers = 50_000

type question struct{ user, scope string }

type answer struct {
	ok    bool
	until time.Time
}

// cache holds the newest answers.
type cache struct {
	mu      sync.Mutex
	answers map[question]answer
	epoch   uint64 // counts calls of forget
}

// get returns the answer to q, if it is known, and the epoch to give to put.
func (c *cache) get(q question) (ok, known bool, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, found := c.answers[q]
	return a.ok, found && time.Now().Before(a.until), c.epoch
}

// put keeps an answer, unless somebody was forgotten since it was asked for.
func (c *cache) put(q question, a answer, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if len(c.answers) >= maxAnswers {
		now := time.Now()
		for q, a := range c.answers {
			if !now.Before(a.until) {
				delete(c.answers, q)
			}
		}
		if len(c.answers) >= maxAnswers {
			clear(c.answers)
		}
	}
	c.answers[q] = a
}

func (c *cache) forget(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for q := range c.answers {
		if q.user == user {
			delete(c.answers, q)
		}
	}
}
