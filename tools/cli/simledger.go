package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine/sim"
)

func (a *app) simLedger() *cobra.Command {
	var (
		f      simFlags
		file   string
		asJSON *bool
	)
	c := verb("ledger [--seeds FIRST-LAST]", "a campaign, and its line in the ledger", Change, 0, 0,
		func(c *cobra.Command, _ []string) error {
			campaign, err := f.campaign()
			if err != nil {
				return err
			}
			if campaign.Plant != "" {
				return usage("leave --plant out", "the ledger takes no campaign with a mistake planted")
			}
			if _, err := os.Stat(file); err != nil {
				return failure(ExitUsage, err, "run it in the repository, or name the ledger with --file")
			}
			commit, err := workCommit(c)
			if err != nil {
				return failure(ExitFailed, err, "run it in the repository: the ledger names a commit")
			}
			r := a.simCampaign(c.Context(), campaign)
			// A broken campaign is entered as well: the ledger tells what was found.
			if r.Whole || len(r.Broken) > 0 {
				if err := appendLine(file, ledgerRow(commit, f.seeds, r)); err != nil {
					return err
				}
			}
			return a.simConclude(r, *asJSON)
		})
	c.Long = `Runs a campaign as cfs sim run does, and appends its commit, seeds, steps, faults, marks and wall
time to the ledger, broken or not. A campaign that was interrupted is not entered.`
	f.add(c)
	c.Flags().StringVar(&file, "file", "docs/ledger.md", "the ledger, `FILE`")
	asJSON = verdictOutput(c)
	return c
}

// workCommit names the commit of the working tree, with a + where files of it
// were changed: the binary may be older than what it stands in for, so both come
// from the same make target.
func workCommit(c *cobra.Command) (string, error) {
	commit, err := exec.CommandContext(c.Context(), "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "", fmt.Errorf("git rev-parse: %w", err)
	}
	name := strings.TrimSpace(string(commit))
	changed, err := exec.CommandContext(c.Context(), "git", "status", "--porcelain", "-uno", "--", "*.go").Output()
	if err != nil {
		return "", fmt.Errorf("git status: %w", err)
	}
	if len(changed) > 0 {
		name += "+"
	}
	return name, nil
}

// ledgerRow is a row of the table in docs/ledger.md.
func ledgerRow(commit, seeds string, r *sim.Report) string {
	verdict := fmt.Sprint(len(r.Broken))
	if len(r.Broken) == 0 && r.Invalid() != "" {
		verdict = "invalid"
	}
	day, marks := time.Now().UTC().Format(time.DateOnly), fmt.Sprintf("%d/%d", r.MarksReached(), len(sim.Marks))
	return fmt.Sprintf("| %s | %s | sim | %s | %d | %d | %s | %s | %.1f h | %s |\n", day, commit, seeds,
		r.Steps, r.Faults, verdict, marks, r.Virtual.Hours(), r.Wall.Round(time.Second))
}

// appendLine adds a line to the end of a file.
func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}
