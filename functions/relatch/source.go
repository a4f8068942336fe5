package main

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/export"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/report"
)

// source is where report and verify find the ledger's entries.
type source interface {
	// Entries yields them in any order of journals, those of a journal in the
	// order of their numbers. After an error it goes on if it can.
	Entries() iter.Seq2[mfa.Entry, error]
}

func (t terminal) files(paths []string) export.Files {
	return export.Files{Paths: paths, Stdin: t.in}
}

// ledgerSource is the ledger itself.
type ledgerSource struct {
	ctx    context.Context
	ledger *dynamo.Ledger
	// each is told of every journal before its entries.
	each func(dynamo.Journal)
}

func (l ledgerSource) Entries() iter.Seq2[mfa.Entry, error] {
	return func(yield func(mfa.Entry, error) bool) {
		for j, err := range l.ledger.Journals(l.ctx) {
			if err != nil {
				if !yield(mfa.Entry{}, err) {
					return
				}
				continue
			}
			l.each(j)
			for _, e := range j.Entries {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// ledgerFacts are what Cognito and the ledger say besides the records. Where a user
// cannot be looked up, trouble is told once and nobody of the pool has a name.
type ledgerFacts struct {
	users interface {
		User(context.Context, mfa.PoolID, mfa.Sub) (mfa.User, error)
	}
	ledger  *dynamo.Ledger
	people  map[mfa.RecordUser]mfa.User
	failed  map[mfa.PoolID]bool
	trouble func(error)
}

func (f *ledgerFacts) Person(ctx context.Context, u mfa.RecordUser) (mfa.User, error) {
	if known, ok := f.people[u]; ok || f.failed[u.Pool] {
		return known, nil
	}
	user, err := f.users.User(ctx, u.Pool, u.Sub)
	if err != nil {
		f.trouble(err)
		f.failed[u.Pool] = true
		user = mfa.User{}
	}
	f.people[u] = user
	return user, nil
}

func (f *ledgerFacts) Justification(ctx context.Context, o report.Override) (*mfa.Justification, error) {
	all, err := f.ledger.Justifications(ctx, o.User.Pool, o.User.Sub)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(j mfa.Justification) bool { return j.ID == o.JustificationID }); i >= 0 {
		return &all[i], nil
	}
	return nil, nil //nolint:nilnil // not known, as report.Facts says
}

// readFacts are what an account.json says besides the records of its replay.
func readFacts(path string) (report.Facts, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nothing is known, as report.Builder takes it
	}
	file, err := replay.ReadAccount(path)
	if err != nil {
		return nil, err
	}
	var end time.Time // when every justification is on record
	for _, j := range file.Justifications {
		end = j.At
	}
	facts := replayFacts{account: account.New(file, mfa.DefaultPolicy(), nil, end), users: map[mfa.RecordUser]mfa.User{}}
	for _, u := range file.Users {
		facts.users[mfa.RecordUser{Pool: u.Pool, Sub: u.Sub}] = mfa.User{Sub: u.Sub, Found: true, Username: u.Username, Roles: u.Roles}
	}
	return facts, nil
}
