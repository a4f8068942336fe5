package dynamo

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// JournalsOf yields the journals of a copy of the table, by name; its items may be in
// any order. A journal that cannot be read yields an error and does not keep the
// others from being read. Standings reports whether the copy has any: one that has
// none is of entries alone.
func JournalsOf(copied []map[string]types.AttributeValue) (journals iter.Seq2[Journal, error], standings bool) {
	by := map[string][]item{}
	for _, it := range copied {
		it := item(it)
		pk, sk := it.text(attrPK), it.text(attrSK)
		if strings.HasPrefix(sk, prefixEntry) || strings.HasPrefix(sk, prefixJustification) || sk == skStanding {
			by[pk] = append(by[pk], it)
			standings = standings || sk == skStanding
		}
	}
	return func(yield func(Journal, error) bool) {
		for _, pk := range slices.Sorted(maps.Keys(by)) {
			j, err := journalOf(pk, by[pk])
			switch {
			case err != nil:
				err = fmt.Errorf("read journal %s: %w", pk, err)
			case j.Standing.Version == 0 && len(j.Entries) == 0:
				continue // somebody gave a reason for what has not happened yet
			}
			if !yield(j, err) {
				return
			}
		}
	}, standings
}
