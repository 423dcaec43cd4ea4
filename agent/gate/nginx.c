/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/nginx.h"

#include <inttypes.h>

/* clang-format off */

/* An error message of nginx holds the request line, and that the query: within http, only what keeps nginx from running
 * at all is logged. */
static const char head[] =
        "# Made by sealboot-gate --nginx-configuration from gate.json. Change gate.json, not this file.\n"
        "daemon off;\n"
        "worker_processes auto;\n"
        "pid /run/sealboot-nginx/nginx.pid;\n"
        "error_log stderr error;\n"
        "events {\n"
        "    worker_connections 8192;\n"
        "}\n"
        "http {\n"
        "    error_log stderr emerg;\n"
        "    log_format sealboot escape=json '{\"time\":\"$time_iso8601\",\"caller\":\"$sealboot_caller\","
        "\"path\":\"$sealboot_path\",\"status\":\"$status\",\"bytes\":\"$body_bytes_sent\","
        "\"seconds\":\"$request_time\",\"id\":\"$request_id\"}';\n"
        "    access_log syslog:server=unix:/dev/log,nohostname,tag=sealboot_nginx sealboot;\n"
        "    access_log syslog:server=unix:%1$s/log,nohostname,tag=sealboot_nginx sealboot;\n"
        "    uninitialized_variable_warn off;\n"
        "    default_type application/json;\n"
        "    server_tokens off;\n"
        "    client_body_temp_path /run/sealboot-nginx/body;\n"
        "    proxy_temp_path /run/sealboot-nginx/proxy;\n"
        "    fastcgi_temp_path /run/sealboot-nginx/fastcgi;\n"
        "    uwsgi_temp_path /run/sealboot-nginx/uwsgi;\n"
        "    scgi_temp_path /run/sealboot-nginx/scgi;\n"
        "\n"
        "    # The path as the client wrote it must be the path that locations are chosen by: nothing is decoded,\n"
        "    # merged or resolved, so that nginx, the gate and the inference server cannot read it differently.\n"
        "    map \"$uri $request_uri\" $sealboot_plain {\n"
        "        default 0;\n"
        "        \"~^([A-Za-z0-9/._~:@+,=-]+) \\1(\\?|$)\" 1;\n"
        "    }\n"
        "    map $request_uri $sealboot_request_path {\n"
        "        default \"\";\n"
        "        \"~^(?<sealboot_before_query>[^?]+)\" $sealboot_before_query;\n"
        "    }\n"
        "    # One machine has all the IPv6 addresses of its network of 64 bits, so these count as one.\n"
        "    map $binary_remote_addr $sealboot_address {\n"
        "        default $binary_remote_addr;\n"
        "        \"~^(?s)(?<sealboot_network>.{8}).{8}$\" $sealboot_network;\n"
        "    }\n"
        "    # A document without a nonce is a copy of one that the gate keeps, and is not counted.\n"
        "    map $args $sealboot_asker {\n"
        "        default $sealboot_address;\n"
        "        \"\" \"\";\n"
        "    }\n"
        "    limit_req_zone $sealboot_asker zone=attestations:4m rate=%2$ur/m;\n"
        "    limit_req_status 429;\n";

static const char connections[] =
        "    limit_conn_zone $sealboot_address zone=addresses:4m;\n"
        "    limit_conn addresses %u;\n"
        "    limit_conn_status 429;\n";

static const char upstreams[] =
        "\n"
        "    upstream sealboot_gate {\n"
        "        server unix:%s/gate.sock;\n"
        "        keepalive 32;\n"
        "    }\n"
        "    upstream sealboot_server {\n";

#define MALFORMED \
        "'{\"error\":{\"message\":\"the request is malformed, or its path is not spelled plainly, or it is not TLS, " \
        "or the client certificate has expired\",\"type\":\"sealboot_gate\",\"code\":400}}'"

/* "listen ... http2" is understood by nginx 1.22; since 1.25.1 it is called old, and still understood. */
static const char server[] =
        "    }\n"
        "\n"
        "    server {\n"
        "        listen %1$u ssl http2 default_server;\n"
        "%2$s"
        "        server_name _;\n"
        "        ssl_protocols TLSv1.3;\n"
        "        ssl_certificate %3$s/certificate.pem;\n"
        "        ssl_certificate_key %3$s/key.pem;\n"
        "        ssl_session_tickets off;\n"
        "        ssl_session_cache off;\n"
        "        ssl_conf_command NumTickets 0;\n"
        "        ssl_early_data off;\n"
        "        # The gate judges certificates. nginx only lets the client prove that it has the key.\n"
        "        ssl_verify_client %5$s;\n"
        "        ssl_verify_depth 1;\n"
        "\n"
        "        underscores_in_headers off;\n"
        "        ignore_invalid_headers on;\n"
        "        absolute_redirect off;\n"
        "        port_in_redirect off;\n"
        "        client_max_body_size %4$" PRId64 ";\n"
        "        client_header_timeout 15s;\n"
        "        client_body_timeout 60s;\n"
        "        large_client_header_buffers 4 16k;\n"
        "        send_timeout 300s;\n"
        "        keepalive_timeout 75s;\n"
        "        keepalive_requests 100000;\n"
        "        tcp_nodelay on;\n"
        "        gzip off;\n"
        "\n"
        "        # Both ways as the bytes come, and nothing of them in a file.\n"
        "        proxy_http_version 1.1;\n"
        "        proxy_buffering off;\n"
        /* Of each read: with 4 KiB, twice the CPU time for a large answer. It and the frames around it fill two TLS
         * records; with 32k, a third record carries what is left over, and costs half as much again. */
        "        proxy_buffer_size 32720;\n"
        "        http2_chunk_size 16k;\n"
        "        proxy_buffers 4 32k;\n"   /* not used, but nginx wants them to fit the size above */
        "        proxy_request_buffering off;\n"
        "        proxy_max_temp_file_size 0;\n"
        "        proxy_cache off;\n"
        "        proxy_connect_timeout 5s;\n"
        "        proxy_send_timeout 300s;\n"
        "        proxy_read_timeout 3600s;\n"
        "        proxy_next_upstream off;\n"
        "        proxy_redirect off;\n"
        "        # What a program behind nginx must not steer: nginx itself, and where clients go next.\n"
        "        proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering\n"
        "            X-Accel-Charset;\n"
        "        proxy_hide_header Location;\n"
        "        proxy_hide_header Refresh;\n"
        "        proxy_hide_header Alt-Svc;\n"
        "        proxy_hide_header X-Request-ID;\n"
        "        proxy_hide_header Clear-Site-Data;\n"
        "        proxy_hide_header Strict-Transport-Security;\n"
        "        proxy_hide_header Access-Control-Allow-Origin;\n"
        "        proxy_hide_header Access-Control-Allow-Credentials;\n"
        "        # The caller's secret is for the gate.\n"
        "        proxy_set_header Host localhost;\n"
        "        proxy_set_header Connection close;\n"
        "        proxy_set_header Authorization \"\";\n"
        "        proxy_set_header Proxy-Authorization \"\";\n"
        "        proxy_set_header X-Forwarded-For \"\";\n"
        "        proxy_set_header Forwarded \"\";\n"
        "        proxy_set_header X-Request-ID $request_id;\n"
        "        add_header X-Request-ID $request_id always;\n"
        "\n"
        "        auth_request /_sealboot_authorize;\n"
        "        auth_request_set $sealboot_caller $upstream_http_x_sealboot_caller;\n"
        "        auth_request_set $sealboot_reason $upstream_http_x_sealboot_reason;\n"
        "        auth_request_set $sealboot_retry $upstream_http_x_sealboot_retry;\n"
        "\n"
        "        # A request whose first line nginx cannot read has no path: it gets here by an internal redirect,\n"
        "        # and ends at the comparison.\n"
        "        error_page 400 414 494 495 496 497 = /_sealboot_400;\n"
        "        if ($sealboot_plain = 0) {\n"
        "            return 400 " MALFORMED ";\n"
        "        }\n"
        "        location = /_sealboot_400 {\n"
        "            internal;\n"
        "            auth_request off;\n"
        "            return 400 " MALFORMED ";\n"
        "        }\n"
        "        location = /_sealboot_authorize {\n"
        "            internal;\n"
        "            proxy_pass http://sealboot_gate/authorize;\n"
        "            proxy_pass_request_headers off;\n"
        "            proxy_pass_request_body off;\n"
        "            proxy_set_header Host gate;\n"
        "            proxy_set_header Connection \"\";\n"
        "            proxy_set_header Content-Length \"\";\n"
        "            proxy_set_header Authorization $http_authorization;\n"
        "            proxy_set_header X-Sealboot-Certificate $ssl_client_escaped_cert;\n"
        "            proxy_set_header X-Sealboot-Method $request_method;\n"
        "            proxy_set_header X-Sealboot-Path $sealboot_request_path;\n"
        "            proxy_set_header X-Sealboot-Address $remote_addr;\n"
        "            proxy_buffering on;\n"
        "            proxy_connect_timeout 5s;\n"
        "            proxy_read_timeout 15s;\n"
        "        }\n"
        "        location / {\n"
        "            return 404;\n"
        "        }\n";

/* The gate's own answers. The caller's headers end at nginx. */
static const char own[] =
        "        location = /.well-known/sealboot/%1$s {\n"
        "            if ($request_method != GET) {\n"
        "                return 405;\n"
        "            }\n"
        "            set $sealboot_path /.well-known/sealboot/%1$s;\n"
        "%2$s"
        "            proxy_pass http://sealboot_gate/.well-known/sealboot/%1$s;\n"
        "            proxy_pass_request_headers off;\n"
        "            proxy_pass_request_body off;\n"
        "            proxy_set_header Host gate;\n"
        "            proxy_set_header Connection \"\";\n"
        "            proxy_set_header Content-Length \"\";\n"
        "            proxy_buffering on;\n"
        "            proxy_read_timeout 60s;\n"
        "        }\n";

static const char listed[] =
        "        location %1$s%2$s {\n"
        "            if ($request_method !~ \"^(%3$s)$\") {\n"
        "                return 405;\n"
        "            }\n"
        "            set $sealboot_path %2$s;\n"
        "            proxy_pass http://sealboot_server%2$s;\n"
        "        }\n";

static const struct {
        unsigned status;
        const char *pages; /* the statuses that are answered so */
        const char *message;
        const char *before; /* what stands before the answer */
} answers[] = {
        { 401, "401", "who are you? $sealboot_reason", "" },
        { 403, "403", "$sealboot_reason",
          "            if ($sealboot_retry) {\n"
          "                add_header Retry-After $sealboot_retry always;\n"
          "                add_header X-Request-ID $request_id always;\n"
          "                return 429 '{\"error\":{\"message\":\"too many requests of this caller\","
          "\"type\":\"sealboot_gate\",\"code\":429}}';\n"
          "            }\n" },
        { 404, "404", "this path is not let through", "" },
        { 405, "405", "this method is not let through", "" },
        { 408, "408", "the request did not arrive in time", "" },
        { 413, "413", "the body of the request is too large", "" },
        { 429, "429", "too many requests", "            add_header Retry-After 5 always;\n" },
        { 500, "500 503", "the gate cannot answer", "" },
        { 501, "501 505", "this is not understood", "" },
        { 502, "502", "the server behind nginx does not answer", "" },
        { 504, "504", "the server behind nginx did not answer in time", "" },
};

/* clang-format on */

static void print_answers(FILE *f) {
        for (size_t i = 0; i < ELEMENTS(answers); i++)
                fprintf(f,
                        "        error_page %s = @answer%u;\n"
                        "        location @answer%u {\n"
                        "            internal;\n"
                        "            auth_request off;\n"
                        "%s"
                        "            return %u "
                        "'{\"error\":{\"message\":\"%s\",\"type\":\"sealboot_gate\",\"code\":%u}}';\n"
                        "        }\n",
                        answers[i].pages, answers[i].status, answers[i].status, answers[i].before, answers[i].status,
                        answers[i].message, answers[i].status);
}

/* For a location "/x/" that is passed on, nginx answers "/x" with a redirect, unless there is a location for it. */
static void print_without_slash(FILE *f, const struct allow_list *paths, const struct allowed *a) {
        for (size_t i = 0; i < paths->n; i++)
                if (!paths->items[i].is_prefix && strlen(paths->items[i].path) + 1 == strlen(a->path) &&
                    strncmp(paths->items[i].path, a->path, strlen(paths->items[i].path)) == 0)
                        return;
        fprintf(f,
                "        location = %.*s {\n"
                "            return 404;\n"
                "        }\n",
                (int) strlen(a->path) - 1, a->path);
}

static void print_listed(FILE *f, const struct allow_list *paths) {
        char methods[METHODS_TEXT_MAX];

        for (size_t i = 0; i < paths->n; i++) {
                const struct allowed *a = &paths->items[i];

                methods_text(a->methods, "|", methods);
                fprintf(f, listed, a->is_prefix ? "" : "= ", a->path, methods);
                if (a->is_prefix)
                        print_without_slash(f, paths, a);
        }
}

static void print_upstream(FILE *f, const struct gate_config *c) {
        if (c->upstream_socket)
                fprintf(f, "        server unix:%s;\n", c->upstream_socket);
        else
                fprintf(f, "        server 127.0.0.1:%u;\n", c->upstream_port);
}

/* A browser bothers its user when a server asks for a certificate. */
static bool takes_certificates(const struct gate_config *c) {
        for (size_t i = 0; i < c->n_callers; i++)
                if (c->callers[i].kind == CALLER_AUTHORITY || c->callers[i].kind == CALLER_PEER)
                        return true;
        return false;
}

void nginx_print(FILE *f, const struct gate_config *c, const char *directory) {
        char ipv6[80] = "", limit[240];

        if (c->ipv6)
                snprintf(ipv6, sizeof ipv6, "        listen [::]:%u ssl http2 default_server ipv6only=on;\n", c->port);
        snprintf(limit, sizeof limit,
                 "            auth_request off;\n"
                 "            limit_req zone=attestations burst=%u nodelay;\n"
                 "            proxy_set_header X-Sealboot-Address $remote_addr;\n",
                 c->attestations_per_minute_and_address);
        fprintf(f, head, directory, c->attestations_per_minute_and_address);
        fprintf(f, connections, c->connections);
        fprintf(f, upstreams, directory);
        print_upstream(f, c);
        fprintf(f, server, c->port, ipv6, directory, c->body_bytes, takes_certificates(c) ? "optional_no_ca" : "off");
        fprintf(f, own, "attestation", limit);
        fprintf(f, own, "report", "");
        fprintf(f, own, "requests", "");
        print_listed(f, &c->paths);
        print_answers(f);
        fputs("    }\n}\n", f);
}
