package sse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pgbell/pgbell/bus"
)

// MaxGroups is how many groups a user may be in.
const MaxGroups = 1000

// ReasonGroups is the reason of the resets that a stream gets once its user has come into
// a group, or left one: all rows of the group came into sight at once, or went out of it.
const ReasonGroups = "groups changed"

var errTooManyGroups = fmt.Errorf("the user is in more than %d groups", MaxGroups)

// groupsHold is how long an answer is good for all streams of a user.
const groupsHold = 3 * time.Second

// groupAnswers are the newest answers of a GroupsFunc, and the questions under way.
type groupAnswers struct {
	mu sync.Mutex
	of map[string]*groupAnswer // by user
}

// groupAnswer is a question and, once done is closed, its answer.
type groupAnswer struct {
	asked  uint64 // the bus's Regroups when it was asked
	done   chan struct{}
	groups []string
	err    error
}

// groupsOf returns which groups a user is in, by an answer that knows of the first least
// regroupings, and of how many it does know.
func (h *Handler) groupsOf(ctx context.Context, asker Asker, id Identity, least uint64) (groups []string, asked uint64, err error) {
	g := &h.groups
	g.mu.Lock()
	a := g.of[id.UserID]
	if a == nil || a.asked < least {
		a = &groupAnswer{asked: h.bus.Regroups(), done: make(chan struct{})}
		if g.of == nil {
			g.of = make(map[string]*groupAnswer)
		}
		g.of[id.UserID] = a
		time.AfterFunc(groupsHold, func() { g.forget(id.UserID, a) })
		go h.askGroups(context.WithValue(context.WithoutCancel(ctx), askerKey{}, asker), id, a)
	}
	g.mu.Unlock()
	select {
	case <-a.done:
		return a.groups, a.asked, a.err
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
}

// askGroups asks. Who asked first may leave before there is an answer.
func (h *Handler) askGroups(ctx context.Context, id Identity, a *groupAnswer) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	defer close(a.done)
	defer func() {
		if p := recover(); p != nil {
			a.err = fmt.Errorf("the question panicked: %v", p)
		}
		if a.err == nil && len(a.groups) > MaxGroups {
			a.groups, a.err = nil, errTooManyGroups
		}
		if a.err != nil {
			h.groups.forget(id.UserID, a) // the next asks again
		}
	}()
	h.groupsAsked.Add(1)
	a.groups, a.err = h.cfg.Groups(ctx, id)
}

func (g *groupAnswers) forget(user string, a *groupAnswer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of[user] == a {
		delete(g.of, user)
	}
}

// joinGroups sets the groups of who asks, before there is a stream.
func (h *Handler) joinGroups(ctx context.Context, asker Asker, id *Identity) *problem {
	if id.UserID == "" {
		id.Groups = nil
	}
	var err error
	if h.cfg.Groups != nil && id.UserID != "" {
		id.Groups, _, err = h.groupsOf(ctx, asker, *id, 0) // whether that is old by now, the stream finds out
	} else if len(id.Groups) > MaxGroups {
		err = errTooManyGroups
	}
	switch {
	case errors.Is(err, errTooManyGroups):
		return tooManyGroups.problem(fmt.Sprintf("You are in more groups than this server looks at: %d.", MaxGroups))
	case err != nil:
		h.log.Warn("the question for a user's groups has no answer", "err", err)
		return noGroups.problem("Which groups you are in can't be told at the moment.")
	}
	return nil
}

// asksGroups says whether the groups of the stream's user are asked for.
func (s *stream) asksGroups() bool { return s.h.cfg.Groups != nil && s.req.id.UserID != "" }

// stale says whether the groups of the stream's user must be asked for before anything more
// is written. What is taken from the subscription comes before the look: then it is not newer
// than the regrouping that shows here.
func (s *stream) stale() bool { return s.asksGroups() && s.groupsAsked < s.sub.Stale() }

// regroup has the stream go on with the groups of now. Where the user was regrouped, all
// that is queued or waits for a burst is looked at anew or told by resets: see takeResets.
func (s *stream) regroup(groups []string, asked uint64) {
	s.groupsAsked = asked
	told := s.sub.Regrouped()
	s.regrouped = s.regrouped || told > s.groupsTold
	s.groupsTold = told
	if !s.sub.InGroups(groups) {
		s.sub.SetGroups(groups)
		s.regrouped = true
		s.regroupLives()
	}
}

// takeResets adds to b a reset for each scope, for the user was regrouped, under the id that
// the client has: what it covers, the client may not know.
func (s *stream) takeResets(b *frames) {
	s.regrouped = false
	s.dropBurst()
	for _, e := range s.resets(ReasonGroups, func(string) bool { return true }) {
		s.h.addEvent(b, s.lastID, &e, 1)
	}
}

// dropBurst forgets what waits, which resets are to tell.
func (s *stream) dropBurst() {
	if !s.burst.empty() {
		s.lastID = s.burst.id
		s.burst.take()
	}
}

// sees says whether the stream's user may see an event of the bus by the groups of now.
func (s *stream) sees(e *bus.ChangeEvent) bool {
	return s.h.cfg.Groups == nil || s.sub.Sees(e.Audience)
}
