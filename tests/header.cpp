/* SPDX-License-Identifier: MIT */
#include <sa/sa.h>
int main() {
    sa_batch batch = {SA_BATCH_HEAD};
    return sa_batch_forward(nullptr, &batch) == SA_INVALID && sa_version()[0] ? 0 : 1;
}
