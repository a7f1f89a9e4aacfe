package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// rows is a table of key and value, as somebody has it who applies events.
type rows map[string]string

// apply does what a client does with the events of a transaction, and says whether it was
// told to fetch again.
func (r rows) apply(records []*Record) (doubtful bool) {
	for _, record := range records {
		doubtful = doubtful || record.Reset != nil
		for _, e := range record.Events() {
			key := string(e.Key)
			switch {
			case e.Op == bus.OpDelete, e.Moved == bus.MovedOut:
				if e.Scope[:2] == "k:" {
					delete(r, key)
				}
			default:
				if e.Scope[:2] == "k:" {
					r[key] = string(e.Data)
				}
			}
		}
	}
	return doubtful
}

// keyed is a definition with a scope of each key, and a payload.
const keyed = `{"version":1,"scopes":["k:{id}"],"audience":null,"payload":["v"],"key":["id"],"fields":[["id","number"],["v","json"]],"columns":1,"deferrable":%v}`

// history is what a transaction does to a table, as it happens, recorded in another order.
type history struct {
	*testing.T
	defs  *Definitions
	truth rows
	lsn   uint64
}

func (h *history) record(op string, lsn uint64, facts ...string) *Record {
	r := &Record{LSN: lsn, Tx: 9, Table: "public.t"}
	if err := r.decode(h.defs, op, 1, array(facts...)); err != nil {
		h.Fatal(err)
	}
	return r
}

// write changes a random row, and records that as a statement of its own.
func (h *history) write(key, value string) *Record {
	h.lsn++
	id := fmt.Sprintf(`{"id":%s}`, key)
	data := func(v string) string { return fmt.Sprintf(`{"v":%s}`, v) }
	old, exists := h.truth[id]
	was := ""
	if exists {
		was = old[5 : len(old)-1]
	}
	switch {
	case !exists:
		h.truth[id] = data(value)
		return h.record("insert", h.lsn, key, value)
	case value == "":
		delete(h.truth, id)
		return h.record("delete", h.lsn, key, was)
	case value[0] == '>': // to another key, if that is free
		to := fmt.Sprintf(`{"id":%s}`, value[1:])
		if _, taken := h.truth[to]; taken {
			break
		}
		delete(h.truth, id)
		h.truth[to] = old
		return h.record("update", h.lsn, key, was, value[1:], was, "id")
	}
	if value[0] == '>' {
		value = "0"
	}
	h.truth[id] = data(value)
	return h.record("update", h.lsn, key, was, key, value, "v")
}

// Statements are recorded when they are over, in whichever order: nested ones first. A
// client ends with what the table holds, or is told to fetch again.
func TestOrderEndsWithTheTableOrAReset(t *testing.T) {
	resets, certain := 0, 0
	for seed := range uint64(20_000) {
		random := rand.New(rand.NewPCG(seed, 1))
		defs := new(Definitions)
		if err := defs.learn(1, fmt.Appendf(nil, keyed, seed%2 == 0)); err != nil {
			t.Fatal(err)
		}
		h := &history{T: t, defs: defs, truth: rows{}}
		client := rows{}
		for i := range 3 { // of before
			id, data := fmt.Sprintf(`{"id":%d}`, i), fmt.Sprintf(`{"v":%d}`, random.IntN(3))
			h.truth[id], client[id] = data, data
		}
		var happened []*Record
		for range 1 + random.IntN(6) {
			value := []string{"", fmt.Sprint(random.IntN(4)), fmt.Sprint(">", random.IntN(5))}[random.IntN(3)]
			if value == "" && random.IntN(2) == 0 {
				value = fmt.Sprint(random.IntN(4))
			}
			key := fmt.Sprint(random.IntN(5))
			if _, exists := h.truth[fmt.Sprintf(`{"id":%s}`, key)]; !exists {
				value = fmt.Sprint(random.IntN(4))
			}
			happened = append(happened, h.write(key, value))
		}
		recorded := slices.Clone(happened)
		nested := random.IntN(3) > 0
		if nested {
			random.Shuffle(len(recorded), func(i, j int) { recorded[i], recorded[j] = recorded[j], recorded[i] })
		}
		for i := range recorded {
			recorded[i].LSN = uint64(i + 1)
			if !nested { // the client sent them one by one
				recorded[i].statement = int64(i)
			}
		}
		told := new(order).tell(slices.Clone(recorded))
		if client.apply(told) {
			resets++
			if !nested && seed%2 == 1 {
				t.Fatalf("seed %d: a reset, though all is in order: %v", seed, texts(recorded))
			}
			continue
		}
		certain++
		if diff := cmp.Diff(h.truth, client); diff != "" {
			t.Fatalf("seed %d: (-table +client)\n%s\nhappened %v\nrecorded %v\ntold %v", seed, diff, texts(happened), texts(recorded), texts(told))
		}
	}
	if certain < 2*resets {
		t.Errorf("%d transactions are certain, %d got a reset", certain, resets)
	}
}

func texts(records []*Record) (all []string) {
	for _, r := range records {
		for _, e := range r.Events() {
			all = append(all, fmt.Sprint(e.Op, e.Moved, " ", e.Scope, string(e.Data)))
		}
	}
	return all
}

// What is in order stays as it is: nothing is looked at twice, nobody gets a reset.
func TestOrderLeavesWhatIsInOrder(t *testing.T) {
	defs := new(Definitions)
	if err := defs.learn(1, fmt.Appendf(nil, keyed, false)); err != nil {
		t.Fatal(err)
	}
	h := &history{T: t, defs: defs, truth: rows{}}
	inOrder := []*Record{
		h.record("update", 1, "1", "0", "1", "1", "v"), h.record("update", 2, "1", "1", "1", "2", "v"), h.record("update", 3, "1", "2", "2", "2", "id"),
		h.record("delete", 4, "7", "1"), h.record("insert", 5, "7", "2"),
	}
	told := new(order).tell(slices.Clone(inOrder))
	if diff := cmp.Diff(texts(inOrder), texts(told)); diff != "" || len(told) != len(inOrder) {
		t.Error(diff)
	}
}

// Another transaction's records, which stand in between, are told all the same; so are
// those of another table, and resets of a table come once.
func TestOrderIsOfOneTransactionAndTable(t *testing.T) {
	defs := new(Definitions)
	if err := defs.learn(1, fmt.Appendf(nil, keyed, false)); err != nil {
		t.Fatal(err)
	}
	h := &history{T: t, defs: defs, truth: rows{}}
	other, elsewhere := h.record("insert", 2, "1", "5"), h.record("delete", 3, "1", "2")
	other.Tx, elsewhere.Table = 10, "public.u"
	reset := h.record("reset", 6, "truncate")
	records := []*Record{h.record("update", 1, "1", "1", "1", "2", "v"), other, elsewhere, h.record("insert", 4, "1", "1"), reset, reset, h.record("insert", 7, "9", "9")}
	got := texts(new(order).tell(records))
	want := []string{`insert k:1{"v":5}`, `delete k:1{"v":2}`, `insert k:1{"v":1}`, `update k:1{"v":2}`, `insert k:9{"v":9}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	resets := 0
	for _, r := range new(order).tell(records) {
		if r.Reset != nil {
			resets++
		}
	}
	if resets != 1 {
		t.Errorf("%d resets", resets)
	}
}
