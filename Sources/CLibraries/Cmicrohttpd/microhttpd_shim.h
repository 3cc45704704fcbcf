/// @file libmicrohttpd's variadic functions, as functions of one type each: Swift cannot call variadic C.
#ifndef MICROHTTPD_SHIM_H
#define MICROHTTPD_SHIM_H

#include <microhttpd.h>
#include <sys/socket.h>

/// What a daemon is started with. The texts are copied by libmicrohttpd or used while it starts.
typedef struct vc_mhd_settings {
    int listen_descriptor;
    unsigned connections_max;
    unsigned timeout_s;
    size_t connection_bytes;
    /// PEM, both or none: with them the daemon speaks TLS.
    const char *_Nullable certificate;
    const char *_Nullable key;

    void *_Nullable context;
    MHD_AcceptPolicyCallback _Nonnull accept;
    MHD_NotifyConnectionCallback _Nonnull connection;
    void *_Nullable (*_Nonnull target)(void *_Nullable context, const char *_Nonnull target,
                                       struct MHD_Connection *_Nonnull connection);
    MHD_AccessHandlerCallback _Nonnull request;
    MHD_RequestCompletedCallback _Nonnull completed;
} vc_mhd_settings;

static inline struct MHD_Daemon *_Nullable vc_mhd_start(const vc_mhd_settings *_Nonnull settings) {
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)settings->certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)settings->key},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    if (settings->certificate) flags |= MHD_USE_TLS;
    return MHD_start_daemon(
        flags, 0, settings->accept, settings->context, settings->request, settings->context,
        MHD_OPTION_LISTEN_SOCKET, settings->listen_descriptor,
        MHD_OPTION_CONNECTION_LIMIT, settings->connections_max,
        MHD_OPTION_CONNECTION_TIMEOUT, settings->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, settings->connection_bytes,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_NOTIFY_CONNECTION, settings->connection, settings->context,
        MHD_OPTION_URI_LOG_CALLBACK, settings->target, settings->context,
        MHD_OPTION_NOTIFY_COMPLETED, settings->completed, settings->context,
        MHD_OPTION_ARRAY, settings->certificate ? tls : none,
        MHD_OPTION_END);
}

static inline int vc_mhd_descriptor(struct MHD_Connection *_Nonnull connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static inline const struct sockaddr *_Nullable vc_mhd_peer(struct MHD_Connection *_Nonnull connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}

/// What `MHD_NotifyConnectionCallback` has left at the connection.
static inline void *_Nullable vc_mhd_context(struct MHD_Connection *_Nonnull connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/// Bytes of the request line and the header fields.
static inline size_t vc_mhd_head_bytes(struct MHD_Connection *_Nonnull connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

/// Gives an upgraded connection back: libmicrohttpd closes its descriptor.
static inline void vc_mhd_close_upgraded(struct MHD_UpgradeResponseHandle *_Nonnull upgraded) {
    MHD_upgrade_action(upgraded, MHD_UPGRADE_ACTION_CLOSE);
}

#endif
