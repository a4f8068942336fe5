package dynamo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stackflow/relatch/internal/mfa"
)

// Journal is one journal as the table has it at one time: every entry that its
// standing counts is among the entries unless it is missing, and every justification
// that they name is among the justifications.
type Journal struct {
	Name     string
	Standing mfa.Standing // of version 0 if there is none
	// Entries are in the order in which they stand, which is that of their
	// numbers. One that stands in a place of another journal is of this one.
	Entries []mfa.Entry
	// Justifications are those of the journal's user.
	Justifications []mfa.Justification
}

// Journals yields all journals, in no order, in one strongly consistent pass over
// the table, which takes a read unit for each 4 KB of it. It holds one journal at
// a time. A journal that cannot be read yields an error and does not keep the
// others from being read; if the table cannot be read, the sequence ends.
func (l *Ledger) Journals(ctx context.Context) iter.Seq2[Journal, error] {
	return func(yield func(Journal, error) bool) {
		var here []item // what was read of a partition
		seen := map[string]bool{}
		flush := func() bool {
			if len(here) == 0 || seen[here[0].text(attrPK)] {
				return true
			}
			pk := here[0].text(attrPK)
			seen[pk] = true
			j, err := journalOf(pk, here)
			if err != nil || !j.whole() { // it went on meanwhile, or a page ended in it
				j, err = l.journal(ctx, pk)
			}
			if err != nil {
				err = fmt.Errorf("read journal %s: %w", pk, err)
			}
			if err == nil && j.Standing.Version == 0 && len(j.Entries) == 0 {
				return true // somebody gave a reason for what has not happened yet
			}
			return yield(j, err)
		}
		client, ok := l.client.(dynamodb.ScanAPIClient) // no function may scan: it is no part of Client
		if !ok {
			yield(Journal{}, errors.New("read the ledger: its client cannot scan"))
			return
		}
		pages := dynamodb.NewScanPaginator(client, &dynamodb.ScanInput{
			TableName: &l.table, ConsistentRead: aws.Bool(true),
			FilterExpression:          aws.String("begins_with(sk, :entry) OR begins_with(sk, :justification) OR sk = :standing"),
			ExpressionAttributeValues: item{":entry": text(prefixEntry), ":justification": text(prefixJustification), ":standing": text(skStanding)},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Journal{}, fmt.Errorf("read the ledger: %w", err))
				return
			}
			for _, it := range page.Items {
				if len(here) > 0 && here[0].text(attrPK) != item(it).text(attrPK) {
					if !flush() {
						return
					}
					here = nil
				}
				here = append(here, it)
			}
		}
		flush()
	}
}

// Journal returns the journal of that name; one that does not exist is empty.
func (l *Ledger) Journal(ctx context.Context, name string) (Journal, error) {
	j, err := l.journal(ctx, short(name))
	if err != nil {
		return Journal{}, fmt.Errorf("read journal %s: %w", name, err)
	}
	j.Name = name
	return j, nil
}

// journal reads the entries, then the standing, then what was appended in
// between: so none that the standing counts is passed over. What the entries name
// comes last.
func (l *Ledger) journal(ctx context.Context, pk string) (Journal, error) {
	var all []item
	read := func(in *dynamodb.QueryInput) error {
		for it, err := range l.query(ctx, in) {
			if err != nil {
				return err
			}
			all = append(all, it)
		}
		return nil
	}
	in := l.partition(pk, prefixEntry)
	in.ExpressionAttributeValues[":pk"] = text(pk)
	if err := read(in); err != nil {
		return Journal{}, err
	}
	last := prefixEntry
	if len(all) > 0 {
		last = all[len(all)-1].text(attrSK)
	}
	found, err := l.read(ctx, []item{{attrPK: text(pk), attrSK: text(skStanding)}})
	if err != nil {
		return Journal{}, err
	}
	if len(found) > 0 {
		s, err := found[0].standing()
		if err != nil {
			return Journal{}, err
		}
		if to := entryKey(s.Entries); last < to {
			if err := read(&dynamodb.QueryInput{
				TableName: &l.table, ConsistentRead: aws.Bool(true),
				KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :from AND :to"),
				ExpressionAttributeValues: item{":pk": text(pk), ":from": text(last + "/"), ":to": text(to)},
			}); err != nil {
				return Journal{}, err
			}
		}
	}
	of := l.partition(pk, prefixJustification)
	of.ExpressionAttributeValues[":pk"] = text(pk)
	if err := read(of); err != nil {
		return Journal{}, err
	}
	return journalOf(pk, append(all, found...))
}

// journalOf makes a journal of the items of its partition.
func journalOf(pk string, items []item) (Journal, error) {
	j := Journal{Name: pk, Standing: mfa.Standing{Journal: pk}}
	var errs []error
	var reasons []item
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(a.text(attrSK), b.text(attrSK)) })
	for _, it := range items {
		if it.text(attrSK) == skStanding {
			s, err := it.standing()
			errs = append(errs, err)
			j.Standing = s
			continue
		}
		if strings.HasPrefix(it.text(attrSK), prefixJustification) {
			reasons = append(reasons, it)
			continue
		}
		e, err := it.entry(nil)
		errs = append(errs, err)
		j.Entries = append(j.Entries, e)
	}
	justifications, err := approved(reasons)
	j.Justifications, errs = justifications, append(errs, err)
	if strings.HasPrefix(pk, prefixLong) { // the name is only in what stands there
		switch {
		case j.Standing.Journal != "" && short(j.Standing.Journal) == pk:
			j.Name = j.Standing.Journal
		case len(j.Entries) > 0 && short(j.Entries[0].Journal) == pk:
			j.Name = j.Entries[0].Journal
		}
	}
	for i := range j.Entries {
		j.Entries[i].Journal = j.Name // what came from elsewhere does not have the hash
	}
	j.Standing.Journal = j.Name
	return j, errors.Join(errs...)
}

// whole reports whether the entries are those that the standing counts.
func (j Journal) whole() bool {
	for i, e := range j.Entries {
		if e.Number != i+1 {
			return false
		}
	}
	return j.Standing.Version > 0 && len(j.Entries) == j.Standing.Entries
}
