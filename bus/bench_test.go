package bus_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/pgbell/pgbell/bus"
)

// Cost of an Emit to n readers of one scope that keep up.
func BenchmarkEmitToSubscribers(b *testing.B) {
	for _, n := range []int{0, 1, 1000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			x := newBus(b, bus.Config{})
			subs := make([]*bus.Subscription, n)
			for i := range subs {
				subs[i] = x.Subscribe([]string{"a"}, as(strconv.Itoa(i)))
			}
			defer x.CloseAll()
			e := bus.ChangeEvent{Scope: "a", Op: bus.OpUpdate}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				x.Emit(e)
				if i%200 == 199 {
					b.StopTimer()
					for _, s := range subs {
						drain(s)
					}
					b.StartTimer()
				}
			}
		})
	}
}

// Emit to a scope whose readers do not read: each delivery is a drop.
func BenchmarkEmitToFullQueues(b *testing.B) {
	x := newBus(b, bus.Config{QueueSize: 1})
	for range 1000 {
		x.Subscribe([]string{"a"}, bus.Options{})
	}
	defer x.CloseAll()
	e := bus.ChangeEvent{Scope: "a"}
	x.Emit(e)
	b.ReportAllocs()
	for b.Loop() {
		x.Emit(e)
	}
}

// Emit and read, over 100,000 scopes of a subscriber each.
func BenchmarkEmitOver100000Scopes(b *testing.B) {
	x := newBus(b, bus.Config{})
	scopes := make([]string, 100_000)
	subs := make([]*bus.Subscription, len(scopes))
	events := map[string][]bus.ChangeEvent{}
	for i := range scopes {
		scopes[i] = fmt.Sprint("scope:", i)
		user := strconv.Itoa(i)
		subs[i] = x.Subscribe(scopes[i:i+1], as(user))
		events["everyone"] = append(events["everyone"], bus.ChangeEvent{Scope: scopes[i]})
		events["audience"] = append(events["audience"], bus.ChangeEvent{Scope: scopes[i], Audience: bus.Only(user, "boss")})
	}
	defer x.CloseAll()
	for _, name := range []string{"everyone", "audience"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := i * 7919 % len(scopes)
				x.Emit(events[name][k])
				subs[k].TryNext()
			}
		})
	}
}

// Emit to one user, and read, with so many subscribers on the scope.
func BenchmarkEmitToOneUserAmong(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			x := newBus(b, bus.Config{})
			subs := make([]*bus.Subscription, n)
			for i := range subs {
				subs[i] = x.Subscribe([]string{"a"}, as(strconv.Itoa(i)))
			}
			defer x.CloseAll()
			e := bus.ChangeEvent{Scope: "a", Audience: bus.Only(strconv.Itoa(n / 2))}
			b.ReportAllocs()
			for b.Loop() {
				x.Emit(e)
				subs[n/2].TryNext()
			}
		})
	}
}

func BenchmarkSubscribeAndClose(b *testing.B) {
	x := newBus(b, bus.Config{})
	for i := range 10_000 {
		x.Subscribe([]string{"a", strconv.Itoa(i)}, as(strconv.Itoa(i)))
	}
	defer x.CloseAll()
	scopes := []string{"a", "b", "c"}
	b.ReportAllocs()
	for b.Loop() {
		x.Subscribe(scopes, as("alice")).Close()
	}
}

func BenchmarkResetOf10000Scopes(b *testing.B) {
	x := newBus(b, bus.Config{})
	for i := range 10_000 {
		x.Subscribe([]string{strconv.Itoa(i)}, bus.Options{})
	}
	defer x.CloseAll()
	b.ReportAllocs()
	for b.Loop() {
		x.Reset(nil, bus.ChangeEvent{})
	}
}

// Emit over 1,000 scopes of ten subscribers each, to whoever is in the scope's team, which
// has 1,000 members; each user is in 100 teams. users: the same with an audience that names
// all members.
func BenchmarkEmitToTeams(b *testing.B) {
	const users, teams, size = 10_000, 1000, 1000
	members := make([][]string, teams) // of a team
	groups := make([][]string, users)  // of a user
	for t := range teams {
		for i := range size {
			u := (t + i*10) % users
			members[t] = append(members[t], strconv.Itoa(u))
			groups[u] = append(groups[u], fmt.Sprint("team:", t))
		}
	}
	for _, named := range []string{"groups", "users"} {
		b.Run(named, func(b *testing.B) {
			x := newBus(b, bus.Config{})
			defer x.CloseAll()
			on := make([][]*bus.Subscription, teams) // a team's scope
			for u := range users {
				name := groups[u][u/10%100]
				team, _ := strconv.Atoi(name[len("team:"):])
				on[team] = append(on[team], x.Subscribe([]string{"board:" + name}, in(strconv.Itoa(u), groups[u]...)))
			}
			events := make([]bus.ChangeEvent, teams)
			for t := range events {
				events[t] = bus.ChangeEvent{Scope: fmt.Sprint("board:team:", t), Op: bus.OpUpdate, Audience: bus.Only(members[t]...)}
				if named == "groups" {
					events[t].Audience = bus.Named(nil, []string{fmt.Sprint("team:", t)})
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				t := i * 7 % teams
				x.Emit(events[t])
				for _, s := range on[t] {
					s.TryTake()
				}
			}
		})
	}
}

// Emit to a scope of 1,000 subscribers for whoever is in one of 50,000 teams, as many as an
// array may name, and for who left all but one of them.
func BenchmarkEmitToManyTeams(b *testing.B) {
	x := newBus(b, bus.Config{})
	defer x.CloseAll()
	teams := make([]string, 50_000)
	for i := range teams {
		teams[i] = fmt.Sprint("team:", i)
	}
	for i := range 1000 {
		x.Subscribe([]string{"a"}, in(strconv.Itoa(i), teams[i*50:i*50+10]...))
	}
	all := bus.Named(nil, teams)
	for b.Loop() {
		x.Emit(bus.ChangeEvent{Scope: "a", Audience: all})
		x.Emit(bus.ChangeEvent{Scope: "a", Audience: all.Minus(bus.Named(nil, teams[1:]))})
	}
}
