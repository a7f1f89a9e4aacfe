package journal

import (
	"testing"

	"pgregory.net/rapid"
)

// TestPositionCoversWhatIsDone holds each position against the records before it
// and after it.
func TestPositionCoversWhatIsDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const first = 1000
		size := rapid.SampledFrom([]uint64{3, 20, 2000}).Draw(t, "transactions")
		end := Cursor{Incarnation: "ab", Xmin: first, Xmax: first + size}
		running := map[uint64]bool{}
		for i := range size {
			if rapid.IntRange(0, 9).Draw(t, "running") == 0 {
				end.Xip = append(end.Xip, first+i)
				running[first+i] = true
			}
		}
		if len(end.Xip) > 0 {
			end.Xmin = end.Xip[0]
		}
		var records []*Record
		for i := range size {
			if tx := first + i; !running[tx] {
				for range rapid.IntRange(0, 3).Draw(t, "records") {
					records = append(records, &Record{Tx: tx})
				}
			}
		}
		for range rapid.IntRange(0, 20).Draw(t, "swaps") { // numbers are not drawn in the order of transactions
			if len(records) > 1 {
				i, j := rapid.IntRange(0, len(records)-1).Draw(t, "i"), rapid.IntRange(0, len(records)-1).Draw(t, "j")
				records[i], records[j] = records[j], records[i]
			}
		}
		SetPositions(records, end)

		left := map[uint64]int{}
		for _, r := range records {
			left[r.Tx]++
		}
		before := Cursor{Incarnation: "ab", Xmin: first, Xmax: first}
		done, covered := 0, 0
		for i, r := range records {
			if i == 0 || r.Position != records[i-1].Position { // else what was done is done
				c, err := ParseCursor(r.Position)
				if err != nil {
					t.Fatalf("record %d: %q: %v", i, r.Position, err)
				}
				if !c.Includes(before) {
					t.Fatalf("record %d: %s is behind %s", i, c, before)
				}
				before = c
				covered = 0
				for tx, n := range left {
					if c.Covers(tx) {
						covered++
						if n > 0 {
							t.Fatalf("record %d: %s covers %d, of which there is more", i, c, tx)
						}
					}
				}
				for _, tx := range end.Xip {
					if c.Covers(tx) {
						t.Fatalf("record %d: %s covers %d, which is running", i, c, tx)
					}
				}
			}
			if size <= 20 && covered != done {
				t.Fatalf("record %d: %s covers %d of %d", i, r.Position, covered, done)
			}
			if left[r.Tx]--; left[r.Tx] == 0 {
				done++
			}
		}
	})
}

// In the usual order of transactions next to nothing comes again, however many
// there are.
func TestPositionKeepsUpWithManyTransactions(t *testing.T) {
	const many = 50_000
	records := make([]*Record, many)
	for i := range records {
		records[i] = &Record{Tx: 1000 + uint64(i)}
	}
	SetPositions(records, Cursor{Incarnation: "ab", Xmin: 1000 + many, Xmax: 1000 + many})
	for i, r := range records {
		c, err := ParseCursor(r.Position)
		if err != nil {
			t.Fatal(err)
		}
		if behind := 1000 + uint64(i) - c.Xmin; behind > many/100 {
			t.Fatalf("record %d: %d transactions behind", i, behind)
		}
	}
}

func BenchmarkSetPositions(b *testing.B) {
	records := make([]*Record, 50_000)
	for i := range records {
		records[i] = &Record{Tx: 1000 + uint64(i)}
	}
	for b.Loop() {
		SetPositions(records, Cursor{Incarnation: "ab", Xmin: 60_000, Xmax: 60_000})
	}
}
