// What Go cannot call by itself: verbs that are macros or static inlines, and lists
// that are cut to length for one call. Nothing here keeps what it was given.
#ifndef CLAUDEFS_VERBS_H
#define CLAUDEFS_VERBS_H

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

// How many entries of a list were queued, and the errno that ended it, or 0.
struct cfs_posted {
	int count;
	int error;
};

struct ibv_device **cfs_get_device_list(int *count);
int cfs_query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attr);
int cfs_query_gid_ex(struct ibv_context *context, uint32_t port, uint32_t index, struct ibv_gid_entry *entry);
struct ibv_mr *cfs_reg_mr(struct ibv_pd *pd, uintptr_t address, size_t bytes, int access);
struct ibv_cq *cfs_create_cq(struct ibv_context *context, int entries, uintptr_t cookie,
			     struct ibv_comp_channel *channel, int vector);
int cfs_get_cq_event(struct ibv_comp_channel *channel, uintptr_t *cookie);
int cfs_req_notify_cq(struct ibv_cq *cq, int solicited_only);
int cfs_poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc);
struct cfs_posted cfs_post_send(struct ibv_qp *qp, struct ibv_send_wr *list, int count);
struct cfs_posted cfs_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *list, int count);

// Lists that are linked once: entry i has its parts at i * parts.
struct ibv_send_wr *cfs_alloc_sends(int entries, int parts, struct ibv_sge **sges);
struct ibv_recv_wr *cfs_alloc_recvs(int entries, int parts, struct ibv_sge **sges);

int cfs_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, uintptr_t cookie);
int cfs_connect(struct rdma_cm_id *id, const struct rdma_conn_param *param, const void *data);
int cfs_accept(struct rdma_cm_id *id, const struct rdma_conn_param *param, const void *data);

#endif
