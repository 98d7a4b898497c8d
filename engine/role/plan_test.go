package role_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
)

// TestPlanSaysWhatChanged: each fact that an operator has seen is in the id, and which of them
// changed is told; the order in which logs are listed is none.
func TestPlanSaysWhatChanged(t *testing.T) {
	log := func(shard wire.Shard, seq wire.Seq) role.Standing {
		return role.Standing{Log: wire.LogID{Shard: shard, Site: 7}, At: wire.Position{Seq: seq}}
	}
	plan := func(change func(*role.Plan)) string {
		p := role.Plan{Epoch: 5, Site: 9, Unheard: []string{"site-c"}, Logs: []role.Standing{log(1, 10), log(2, 20)}}
		change(&p)
		return p.ID()
	}
	id := plan(func(*role.Plan) {})
	same := plan(func(p *role.Plan) { p.Logs = []role.Standing{log(2, 20), log(1, 10)} })
	require.Empty(t, role.PlanChanged(id, same))
	for want, change := range map[string]func(*role.Plan){
		"the epoch, or the site that is to write":  func(p *role.Plan) { p.Epoch++ },
		"which sites have reported what they have": func(p *role.Plan) { p.Unheard = nil },
		"where the logs end here":                  func(p *role.Plan) { p.Logs[1].At.Seq++ },
		"the epoch, or the site that is to write, and where the logs end here": func(p *role.Plan) {
			p.Site++
			p.Logs[0].At.Chain[3]++
		},
	} {
		require.Equal(t, want, role.PlanChanged(id, plan(change)))
	}
	require.Contains(t, role.PlanChanged("yes", id), "not the id of a plan")
}
