/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/explain.h"

#include "basic/utf8.h"

static const char *verdict_text(const struct evaluation *v) {
        if (v->explicit_deny)
                return "DENIED by a statement that says Deny";
        if (v->decision == DECISION_DENIED)
                return "DENIED: no statement allows it";
        if (v->decision == DECISION_UNKNOWN)
                return "UNDECIDED: it depends on condition keys that are not known here (see --set and --key)";
        return v->delegated ? "ALLOWED to the caller's account: its IAM policies decide" : "ALLOWED";
}

static void print_values(FILE *f, const struct strings *s) {
        if (!s)
                fputs("anyone", f);
        for (size_t i = 0; s && i < s->n; i++) {
                fputs(i > 0 ? ", or " : "", f);
                utf8_print(f, s->items[i]);
        }
        if (s && s->n == 0)
                fputs("a service", f);
}

static void print_element(FILE *f, const struct element_result *r) {
        fprintf(f, "  %-7s  ", r->truth == TRUTH_YES ? "met" : r->truth == TRUTH_NO ? "NOT MET" : "unknown");
        utf8_print(f, r->element);
        if (r->key) {
                putc(' ', f);
                utf8_print(f, r->key);
        }
        putc('\n', f);
        if (r->truth == TRUTH_YES)
                return;
        fputs("             wanted  ", f);
        print_values(f, r->wanted);
        fputs("\n             found   ", f);
        utf8_print(f, r->found ?: r->key ? "nothing" : "a key that was not given");
        putc('\n', f);
}

/* Whether the statement explains the decision: a statement about other actions does not, nor a Deny that does not
 * apply. */
static bool is_about(const struct statement_result *s) {
        if (!s->statement->allow && s->truth == TRUTH_NO)
                return false;
        for (size_t i = 0; i < s->n; i++)
                if ((streq(s->elements[i].element, "Action") || streq(s->elements[i].element, "NotAction")) &&
                    s->elements[i].truth == TRUTH_NO)
                        return false;
        return true;
}

void explain_evaluation(FILE *f, const struct evaluation *v, const char *principal, const char *action) {
        fprintf(f, "%s for %s: %s\n", action, principal, verdict_text(v));
        for (size_t i = 0; i < v->n; i++) {
                const struct statement_result *s = &v->statements[i];

                if (!is_about(s))
                        continue;
                putc('\n', f);
                utf8_print(f, s->statement->name);
                fprintf(f, " (%s) %s\n", s->statement->allow ? "Allow" : "Deny",
                        s->truth == TRUTH_YES  ? "applies"
                        : s->truth == TRUTH_NO ? "does not apply"
                                               : "may apply");
                for (size_t k = 0; k < s->n; k++)
                        print_element(f, &s->elements[k]);
        }
}

static json_object *element_to_json(const struct element_result *r) {
        json_object *o = json_object_new_object(), *wanted = json_object_new_array();

        json_object_object_add(o, "element", json_object_new_string(r->element));
        json_object_object_add(o, "key", r->key ? json_object_new_string(r->key) : NULL);
        json_object_object_add(o, "met", json_object_new_string(truth_name(r->truth)));
        for (size_t i = 0; r->wanted && i < r->wanted->n; i++)
                json_object_array_add(wanted, json_object_new_string(r->wanted->items[i]));
        if (!r->wanted)
                json_object_array_add(wanted, json_object_new_string("*"));
        json_object_object_add(o, "wanted", wanted);
        json_object_object_add(o, "found", r->found ? json_object_new_string(r->found) : NULL);
        return o;
}

json_object *explain_evaluation_json(const struct evaluation *v) {
        json_object *o = json_object_new_object(), *statements = json_object_new_array();

        json_object_object_add(o, "decision", json_object_new_string(decision_name(v->decision)));
        json_object_object_add(o, "explicit_deny", json_object_new_boolean(v->explicit_deny));
        json_object_object_add(o, "delegated", json_object_new_boolean(v->delegated));
        for (size_t i = 0; i < v->n; i++) {
                const struct statement_result *s = &v->statements[i];
                json_object *one = json_object_new_object(), *elements = json_object_new_array();

                json_object_object_add(one, "statement", json_object_new_string(s->statement->name));
                json_object_object_add(one, "effect", json_object_new_string(s->statement->allow ? "Allow" : "Deny"));
                json_object_object_add(one, "applies", json_object_new_string(truth_name(s->truth)));
                for (size_t k = 0; k < s->n; k++)
                        json_object_array_add(elements, element_to_json(&s->elements[k]));
                json_object_object_add(one, "elements", elements);
                json_object_array_add(statements, one);
        }
        json_object_object_add(o, "statements", statements);
        return o;
}

void explain_findings(FILE *f, const struct findings *findings) {
        if (findings->n > 0)
                fputs("\nFindings:\n", f);
        for (size_t i = 0; i < findings->n; i++) {
                fputs("  ", f);
                utf8_print(f, findings->items[i].statement);
                fprintf(f, ", %s: ", findings->items[i].code);
                utf8_print(f, findings->items[i].text);
                fprintf(f, ". %s\n", findings->items[i].advice);
        }
}

json_object *explain_findings_json(const struct findings *findings) {
        json_object *o = json_object_new_array();

        for (size_t i = 0; i < findings->n; i++) {
                json_object *one = json_object_new_object();

                json_object_object_add(one, "statement", json_object_new_string(findings->items[i].statement));
                json_object_object_add(one, "code", json_object_new_string(findings->items[i].code));
                json_object_object_add(one, "text", json_object_new_string(findings->items[i].text));
                json_object_object_add(one, "advice", json_object_new_string(findings->items[i].advice));
                json_object_array_add(o, one);
        }
        return o;
}
