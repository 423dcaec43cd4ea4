/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "aws/xml.h"

/* The items of a document as "path=text;" and "path;" for an element with children; "!" where it is refused. */
static void describe(const char *document, size_t n, char *out, size_t room) {
        _cleanup_free_ char *text = malloc(n + 1);
        struct xml_item item;
        struct xml x;
        int r;

        memcpy(text, document, n);
        text[n] = '\0';
        x = xml_over(text, n);
        out[0] = '\0';
        while ((r = xml_next(&x, &item)) > 0)
                snprintf(out + strlen(out), room - strlen(out), "%s%s%s;", item.path, item.text ? "=" : "",
                         item.text ?: "");
        if (r < 0)
                snprintf(out + strlen(out), room - strlen(out), "!");
}

static void test_documents(void **state) {
        static const struct {
                const char *document, *items;
        } table[] = {
                { "<a/>", "a=;" },
                { "<a></a>", "a=;" },
                { " <a> x </a>\n", "a= x ;" },
                { "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<E><Code>NoSuchKey</Code><Message>m</Message></E>",
                  "E/Code=NoSuchKey;E/Message=m;E;" },
                { "<a xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\" b=\"\"><c d=\"e\" /></a >", "a/c=;a;" },
                { "<a><b><c>1</c></b><b><c>2</c></b></a>", "a/b/c=1;a/b;a/b/c=2;a/b;a;" },
                { "<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;&#xe9;&#x1234;</a>",
                  "a=<>&\"'A\xf0\x9f\x98\x80\xc3\xa9\xe1\x88\xb4;" },
                { "<a>&amp;lt;</a>", "a=&lt;;" },
                { "<a>x>y\"'</a>", "a=x>y\"';" },
                /* Refused. */
                { "", "!" },
                { "text", "!" },
                { "<a>", "!" },
                { "<a", "!" },
                { "<a b", "!" },
                { "<a b=", "!" },
                { "<a b=\"", "!" },
                { "<a/", "!" },
                { "<a></b>", "!" },
                { "<a></aa>", "!" },
                { "<aa></a>", "!" },
                { "</a>", "!" },
                { "<a/><b/>", "a=;!" },
                { "<a/>text", "a=;!" },
                { "<a/></a>", "a=;!" },
                { "<a>text<b/></a>", "!" },
                { "<a><b/>text</a>", "a/b=;!" },
                { "<a b=c/>", "!" },
                { "<a b=\"<\"/>", "!" },
                { "<a b='c'/>", "!" },
                { "<ab=\"c\"/>", "!" },
                { "<a>&nbsp;</a>", "!" },
                { "<a>&</a>", "!" },
                { "<a>&#0;</a>", "!" },
                { "<a>&#xd800;</a>", "!" },
                { "<a>&#x110000;</a>", "!" },
                { "<a>&#-1;</a>", "!" },
                { "<a>&#x;</a>", "!" },
                { "<a>&#99999999999999999999;</a>", "!" },
                { "<!DOCTYPE a><a/>", "!" },
                { "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "!" },
                { "<a><!-- c --></a>", "!" },
                { "<a><![CDATA[c]]></a>", "!" },
                { "<a><?pi?></a>", "!" },
                { "<?xml version=\"1.0\"<?><a/>", "!" },
                { "<?xml ", "!" },
                { "<1><2><3><4><5><6><7><8>x</8></7></6></5></4></3></2></1>",
                  "1/2/3/4/5/6/7/8=x;1/2/3/4/5/6/7;1/2/3/4/5/6;1/2/3/4/5;1/2/3/4;1/2/3;1/2;1;" },
                { "<1><2><3><4><5><6><7><8><9/></8></7></6></5></4></3></2></1>", "!" },
        };
        char out[256];

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                describe(table[i].document, strlen(table[i].document), out, sizeof out);
                if (!streq(out, table[i].items))
                        fail_msg("%s: %s, not %s", table[i].document, out, table[i].items);
        }
        describe("<a>b\0</a>", 9, out, sizeof out);
        assert_string_equal(out, "!");
}

static void test_find(void **state) {
        char text[] = "<R><Key>k</Key><UploadId>a&amp;b</UploadId><UploadId>second</UploadId></R>",
             cut[] = "<R><Key>k</Key><UploadId>a";

        (void) state;
        assert_string_equal(xml_find(text, strlen(text), "R/UploadId"), "a&b");
        assert_null(xml_find(cut, strlen(cut), "R/UploadId"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_documents),
                cmocka_unit_test(test_find),
        };

        return cmocka_run_group_tests_name("xml", tests, NULL, NULL);
}
