package main

import (
	"context"
	"iter"
	"slices"

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

// accountFacts are what an account.json says besides the records.
type accountFacts struct {
	file   account.File
	policy mfa.Policy
}

func readFacts(path string) (report.Facts, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nothing is known, as report.Builder takes it
	}
	file, err := replay.ReadAccount(path)
	if err != nil {
		return nil, err
	}
	policy := mfa.DefaultPolicy()
	if len(file.Policy) > 0 {
		if policy, err = mfa.ParsePolicy(file.Policy); err != nil {
			return nil, err
		}
	}
	return accountFacts{file, policy}, nil
}

func (f accountFacts) Person(_ context.Context, u mfa.RecordUser) (mfa.User, error) {
	for _, other := range f.file.Users {
		if other.Pool == u.Pool && other.Sub == u.Sub {
			return mfa.User{Sub: u.Sub, Found: true, Username: other.Username, Roles: other.Roles}, nil
		}
	}
	return mfa.User{}, nil
}

// Justification is the only one of the user that was made in time. The records
// do not say which one counted: of several it could be any.
func (f accountFacts) Justification(_ context.Context, o report.Override) (*mfa.Justification, error) {
	var only *mfa.Justification
	for _, j := range f.file.Justifications {
		inTime := !j.At.Before(o.OpenedAt.Add(-f.policy.Before)) && !j.At.After(o.OpenedAt.Add(f.policy.Late))
		if j.Pool != o.User.Pool || j.Sub != o.User.Sub || !inTime {
			continue
		}
		if only != nil {
			return nil, nil //nolint:nilnil // not known, as report.Facts says
		}
		only = &mfa.Justification{Reason: j.Reason, Ticket: j.Ticket, Cause: j.Cause, Author: j.Author, Approver: j.Approver, At: j.At}
	}
	return only, nil
}
