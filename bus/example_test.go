package bus_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgbell/pgbell/bus"
)

func Example() {
	b, err := bus.New(bus.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	alice := b.Subscribe([]string{"project:7", "task:9"}, bus.Options{
		Connection: &bus.Connection{UserID: "alice", SessionID: "tab 1"},
	})
	defer alice.Close()

	b.Emit(bus.ChangeEvent{Scope: "project:7", Op: bus.OpInsert, Key: []byte(`{"id":10}`)})
	b.Emit(bus.ChangeEvent{Scope: "project:7", Op: bus.OpDelete, Audience: bus.Only("bob")}) // not for her
	b.Emit(bus.ChangeEvent{Scope: "task:9", Op: bus.OpUpdate, Changed: []string{"title"}})
	b.CloseUser("alice")

	for {
		e, err := alice.Next(context.Background())
		if errors.Is(err, bus.ErrClosed) {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Scope, e.Op, string(e.Key), e.Changed)
	}
	// Output:
	// project:7 insert {"id":10} []
	// task:9 update  [title]
	// subscription closed
}

// A reader that falls behind is told what to fetch again.
func Example_slowReader() {
	b, err := bus.New(bus.Config{QueueSize: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := b.Subscribe([]string{"tasks"}, bus.Options{})
	defer s.Close()
	for range 5 {
		b.Emit(bus.ChangeEvent{Scope: "tasks", Op: bus.OpInsert})
	}
	for e, ok := s.TryNext(); ok; e, ok = s.TryNext() {
		fmt.Printf("%s %s: %q\n", e.Scope, e.Op, e.Reason)
	}
	fmt.Println("dropped:", b.Stats().Dropped)
	// Output:
	// tasks insert: ""
	// tasks insert: ""
	// tasks reset: "the subscriber was too slow: events were dropped"
	// dropped: 3
}

// A reader that waits for other things as well.
func ExampleSubscription_Wake() {
	b, err := bus.New(bus.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := b.Subscribe([]string{"tasks"}, bus.Options{})
	defer s.Close()
	leave := make(chan struct{})

	go func() {
		b.Emit(bus.ChangeEvent{Scope: "tasks", Op: bus.OpInsert})
		b.Advance("position 1")
		b.CloseAll()
	}()
	for !s.Closed() {
		select {
		case <-s.Wake():
			for e, ok := s.TryNext(); ok; e, ok = s.TryNext() {
				fmt.Println(e.Scope, e.Op)
			}
			if position, ok := s.Drained(); ok {
				_ = position // a client that comes back may ask for what came after
			}
		case <-leave:
			return
		}
	}
	// Output:
	// tasks insert
}
