package v3

import (
	"context"
	"net/http"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// bindListClusters lists every configured cluster whose id is known; the REST Proxy has just one.
func bindListClusters(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return rest.Operation{Resources: []rest.Resource{{Type: "cluster"}}}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		body := list[clusterBody]{Kind: "KafkaClusterList", Metadata: listMetadata{Self: namesFor(r, "").clusters}, Data: []clusterBody{}}
		var unreachable error
		for _, cluster := range grant.Clusters() {
			described, err := describe(ctx, r, cluster)
			if err != nil {
				unreachable = err
				continue // the others are still there
			}
			body.Data = append(body.Data, described)
		}
		if len(body.Data) == 0 && unreachable != nil {
			return unreachable
		}
		return write(w, r, http.StatusOK, body)
	}, nil
}

func bindGetCluster(r *rest.Request) (rest.Operation, rest.Serve, error) {
	id := r.PathValue("cluster")
	return rest.Operation{Cluster: id, Resources: []rest.Resource{{Type: "cluster", Name: id}}}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		body, err := describe(ctx, r, cluster)
		if err != nil {
			return err
		}
		return write(w, r, http.StatusOK, body)
	}, nil
}

func describe(ctx context.Context, r *rest.Request, cluster *rest.Cluster) (clusterBody, error) {
	described, err := cluster.Cluster(ctx)
	if err != nil {
		return clusterBody{}, err
	}
	id, known := cluster.ID()
	if !known {
		return clusterBody{}, fault.New(fault.BrokerNotAvailable, "The Kafka cluster has not told its id yet. Try again later.")
	}
	return namesFor(r, id).clusterBody(described.Controller), nil
}
