package cli

import (
	"bytes"
	"cmp"
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
				return usage("omit --plant", "the ledger takes no campaign with a mistake planted")
			}
			if err := isLedger(file); err != nil {
				return failure(ExitUsage, err, "run it in the repository, or name the ledger with --file")
			}
			commit, err := workCommit(c)
			if err != nil {
				return failure(ExitFailed, err, "run it in the repository: the ledger names a commit")
			}
			r := a.simCampaign(c.Context(), campaign)
			// A broken campaign is entered as well: the ledger tells what was found.
			if r.Whole || len(r.Broken) > 0 {
				err = appendLine(file, ledgerRow(commit, f.seeds, r))
			}
			return cmp.Or(a.simConclude(r, *asJSON), err)
		})
	c.Long = `Runs a campaign as cfs sim run does, and appends its commit, seeds, steps, faults, marks and wall
time to the ledger, broken or not. One that ended early, because enough worlds were broken, says how many
seeds it lived; one that was interrupted with none broken is not entered.`
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
	if !r.Whole {
		seeds = fmt.Sprintf("%d of %s", r.Seeds, seeds)
	}
	day, marks := time.Now().UTC().Format(time.DateOnly), fmt.Sprintf("%d/%d", r.MarksReached(), len(sim.Marks))
	return fmt.Sprintf("| %s | %s | sim | %s | %d | %d | %s | %s | %.1f h | %s |\n", day, commit, seeds,
		r.Steps, r.Faults, verdict, marks, r.Virtual.Hours(), r.Wall.Round(time.Second))
}

// isLedger refuses a file to which no row can be added, before a campaign is lived.
func isLedger(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if last := text[bytes.LastIndexByte(bytes.TrimRight(text, "\n"), '\n')+1:]; !bytes.HasPrefix(last, []byte("|")) ||
		!bytes.HasSuffix(last, []byte("|\n")) {
		return fmt.Errorf("%s: not a ledger: it does not end with a row of its table", file)
	}
	return appendLine(file, "")
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
