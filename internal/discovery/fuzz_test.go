//go:build e2e

package discovery_test

import (
	"net/http"
	"regexp"
	"testing"

	"lakefs_import_exporter/internal/discovery"
)

// FuzzRow puts a repository's row and an import's row beside good ones, in
// PostgreSQL and in DynamoDB. Whatever is in them, the good ones are found, and
// nothing that is no repository or no import ID.
func FuzzRow(f *testing.F) {
	for _, r := range append(oddRepositories, repositoryRow{name: "x"}) {
		f.Add(r.name, id, r.rows()[0].value)
	}
	f.Add("my-repo", "\xff", []byte("2\x14"+uid))
	f.Add("My Repo\x00", "a/b", []byte("\x08\x32\x14\x32\x14"+uid+"\x32\x7f"))
	c := postgresCluster(f)
	var rows []row
	sources := map[string]discovery.Source{
		"postgres": newPostgres(f, c.exporterDSN()),
		"dynamodb": newDynamoDB(f, fakeDynamoDB(f, func(_ http.ResponseWriter, _ *http.Request, q query) []row { return in(rows, q) })),
	}
	repositoryPattern := regexp.MustCompile(`^[a-z0-9][a-z0-9-]{2,62}$`)
	idPattern := regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	good := repositoryRow{name: "a-good-one", namespace: "s3://b", branch: "main", uid: uid}

	f.Fuzz(func(t *testing.T, repository, importID string, value []byte) {
		if repository == good.name || len(repository)+len(importID) > 1000 {
			t.Skip("the name of the other repository, or longer than any key")
		}
		rows = append(good.rows(id),
			row{[]byte("graveler"), []byte("repos/" + repository), append([]byte{}, value...)},
			row{[]byte(repository + "-" + uid), []byte("imports/" + importID), []byte{}})
		c.set(t, rows)
		for name, source := range sources {
			set, err := refresh(t, source, discovery.Options{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			found := false
			for _, i := range set.Imports {
				found = found || i == discovery.Import{Repository: good.name, ID: id}
				if !repositoryPattern.MatchString(i.Repository) || !idPattern.MatchString(i.ID) {
					t.Errorf("%s: found %q", name, i)
				}
			}
			if !found {
				t.Errorf("%s: the good row was not found: %+v", name, set)
			}
		}
	})
}
